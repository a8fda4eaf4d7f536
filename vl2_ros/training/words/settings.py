"""Settings of the training of answers in words, beside those of every recipe."""

from __future__ import annotations

from dataclasses import dataclass

from vl2_ros.parameter_table import parameter
from vl2_ros.training.embedded.settings import (
    cache_parameter,
    frames_parameter,
    held_out_parameter,
)
from vl2_ros.training.recipes.sections import check_section


@dataclass(frozen=True, slots=True)
class WordsSettings:
    """Settings of training answers in words; a batch is so many scenes."""

    cache: str = cache_parameter
    frames: int = frames_parameter
    held_out_frames: int = held_out_parameter
    teacher: str = parameter(
        "embedded",
        "Checkpoint whose decoder is kept and whose slot states are held; embedded: that of the "
        "package",
    )
    language: str = parameter(
        "",
        "Checkpoint whose projector and LLM are taken, such as one of labels alone; empty: those "
        "of `init`",
    )
    questions: int = parameter(14, "Questions about each scene", least=1, most=1000)
    images_from: float = parameter(
        0.4,
        "Share of the steps after which images are seen; before, labels stand for them",
        least=0.0,
        most=1.0,
    )
    label_share: float = parameter(
        0.25, "Share of the later batches in which labels stand for images", least=0.0, most=1.0
    )
    relations_from: float = parameter(
        0.15, "Share of the steps after which relations are asked", least=0.0, most=1.0
    )
    listings_from: float = parameter(
        0.3, "Share of the steps after which listings are asked", least=0.0, most=1.0
    )
    listing_weight: float = parameter(
        3.0, "Weight of a listing, over that of another answer", least=0.0, most=1e6
    )
    attention: float = parameter(
        0.3, "Weight of where the LLM looks at the noun of a question", least=0.0, most=1e6
    )
    places: float = parameter(
        1.0,
        "Weight of what linear layers read of where the thing of a noun is, and how far from the "
        "one before",
        least=0.0,
        most=1e6,
    )
    labels: float = parameter(
        0.3, "Weight of the labels of the tower's tokens, where it is trained", least=0.0, most=1e6
    )
    held_scenes: int = parameter(
        2, "Scenes of a batch about which commands are held", least=1, most=1000
    )
    commands: int = parameter(3, "Commands about each of them", least=1, most=1000)
    command_weight: float = parameter(
        0.3, "Weight of the words of answers to commands", least=0.0, most=1e6
    )
    hold: float = parameter(
        4.0,
        "Weight that keeps the states at the slots where the decoder expects them",
        least=0.0,
        most=1e6,
    )
    fit_steps: int = parameter(
        250,
        "Steps that fit the projector to the LLM's words before a run begins; 0: it is kept",
        least=0,
        most=1_000_000,
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_section(self)
