"""Settings of the objective `conversations`, beside those of every recipe."""

from __future__ import annotations

from dataclasses import dataclass

from vl2_ros.parameter_table import parameter
from vl2_ros.training.conversations.augmentation import Augmentation
from vl2_ros.training.recipes.sections import check_section, section


@dataclass(frozen=True, slots=True)
class ConversationSettings:
    """Settings of training on conversations."""

    language_weight: float = parameter(
        1.0, "Weight of the language loss; 0: it is not computed", least=0.0, most=1e6
    )
    decoder_weight: float = parameter(
        1.0, "Weight of the loss of the decoder behind the super link", least=0.0, most=1e6
    )
    name_weight: float = parameter(
        0.0,
        "Weight of labels on slots, which name they stand for, and on the decoder's image tokens, "
        "what they show, by layers that are thrown away",
        least=0.0,
        most=1e6,
    )
    label_images: int = parameter(
        0,
        "Further images of each batch of a perception decoder, of which tokens alone are labelled: "
        "new things are learned at a fraction of the time",
        least=0,
        most=10_000,
    )
    held_out: float = parameter(
        0.0,
        "Share of the records that is held out, where no source is marked held_out: true",
        least=0.0,
        most=0.9,
    )
    augmentation: Augmentation = section(
        Augmentation, "Changes to the images of the perception decoders."
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_section(self)
