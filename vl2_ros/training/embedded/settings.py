"""Settings of the trainings of the embedded model, beside those of every recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vl2_ros.parameter_table import parameter
from vl2_ros.training.conversations.augmentation import Augmentation
from vl2_ros.training.recipes.sections import check_section, section


class FrameSettings(Protocol):
    """Settings of rendered frames."""

    @property
    def cache(self) -> str:
        """Return the folder of rendered frames."""

    @property
    def frames(self) -> int:
        """Return the number of frames to train on."""

    @property
    def held_out_frames(self) -> int:
        """Return the number of frames that are only measured."""


cache_parameter = parameter("training_runs/tabletop", "Folder of rendered frames", metavar="FOLDER")
frames_parameter = parameter(
    20_000, "Simulated scenes to render, with seeds from 0 on", least=1, most=1_000_000
)
held_out_parameter = parameter(
    500, "Further scenes that are only measured, with seeds from 1000000 on", least=1, most=100_000
)


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """Settings of training everything at once."""

    cache: str = cache_parameter
    frames: int = frames_parameter
    held_out_frames: int = held_out_parameter
    household: str = parameter(
        "",
        "Folder of shards of household scenes, which FOLDER_held_out beside it measures; empty: "
        "the table alone",
        metavar="FOLDER",
    )
    household_share: float = parameter(
        0.5,
        "Share of the images that show a household, where there are shards",
        least=0.0,
        most=1.0,
    )
    super_link_gradient: float = parameter(
        2.0,
        "Factor on the decoder's gradient into the LLM, which is much smaller than that of the "
        "language loss",
        least=0.0,
        most=1e6,
    )
    language_every: int = parameter(
        1,
        "Every n-th step trains the LLM; in the others it only names the classes, which is "
        "cheaper; 1 until names are learned",
        least=1,
        most=1_000_000,
    )
    vocab_size: int = parameter(
        2048, "Ids of a new tokenizer, special tokens included", least=1, most=1_000_000
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_section(self)


@dataclass(frozen=True, slots=True)
class LanguageSettings:
    """Settings of training the language side alone; a batch is so many images."""

    cache: str = cache_parameter
    frames: int = frames_parameter
    held_out_frames: int = held_out_parameter
    conversations: int = parameter(6, "Conversations about each image", least=1, most=10_000)
    blind_packs: int = parameter(
        9, "Packs of conversations without an image in a batch", least=1, most=100_000
    )
    hold: float = parameter(
        4.0,
        "Weight that keeps the states at the slots where the decoder expects them",
        least=0.0,
        most=1e6,
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_section(self)


def _share(text: str) -> float:
    value: float = parameter(0.0, text, least=0.0, most=1e6)
    return value


@dataclass(frozen=True, slots=True)
class PartsSettings:
    """Settings of training parts of a finished model on a mixture of tasks."""

    cache: str = cache_parameter
    frames: int = frames_parameter
    held_out_frames: int = held_out_parameter
    poses: float = _share("Share of questions about keypoints, in the trained format")
    pose_commands: float = _share("Share of questions about keypoints as people ask them")
    region_names: float = _share("Share of things that are pointed at and named")
    interactive: float = _share("Share of things that are pointed at and cut out")
    perception: float = _share("Share of commands for boxes and masks")
    class_lists: float = _share("Share of long lists of classes")
    text: float = _share("Share of questions that are answered in words")
    language_weight: float = parameter(
        1.0, "Weight of the language loss; 0: it is not computed", least=0.0, most=1e6
    )
    hold: float = parameter(
        0.0,
        "Weight that keeps the states at the slots of commands without regions where the decoders "
        "expect them; 0: the LLM is frozen",
        least=0.0,
        most=1e6,
    )
    augmentation: Augmentation = section(
        Augmentation, "Changes to the images of the perception decoders."
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_section(self)

    @property
    def shares(self) -> dict[str, float]:
        """Return the share of each task that is trained."""
        found = {task: float(getattr(self, task)) for task in _TASKS}
        return {task: share for task, share in found.items() if share > 0}


_TASKS = (
    *("poses", "pose_commands", "region_names", "interactive"),
    *("perception", "class_lists", "text"),
)
