"""Settings of the training of the vision tower, beside those of every recipe."""

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
class EyesSettings:
    """Settings of training the vision tower; a batch is so many images."""

    cache: str = cache_parameter
    frames: int = frames_parameter
    held_out_frames: int = held_out_parameter
    tabletop_weight: float = parameter(
        1.0, "How often the tabletop is drawn beside `sources`", least=1e-6, most=1e6
    )
    side: int = parameter(
        256, "Side of the vision encoder's image in pixels", least=16, most=16_384
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_section(self)
