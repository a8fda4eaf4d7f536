"""The objectives that a recipe can name, in one table: name -> options, and how one is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vl2_ros.training.embedded.settings import EmbeddedSettings, LanguageSettings

if TYPE_CHECKING:
    from vl2_ros.training.objective import Objective
    from vl2_ros.training.recipes.recipe import Recipe

#: Called with what is prepared and the share of it that is done, 0..1.
Report = Callable[[str, float], None]
#: Opens an objective on the CPU: reads or makes its network with the weights of `recipe.init`, and
#: writes the tokenizer and the processing settings of that network, which go beside every
#: checkpoint, into the run's folder. The same files are found there when a run resumes. Torch's
#: global generator was seeded before.
Open = Callable[["Recipe", Path, Report], "Objective"]


@dataclass(frozen=True, slots=True)
class ObjectiveRow:
    """One objective.

    Attributes:
        text: one sentence about what it trains.
        options: frozen dataclass of its own settings, made of `parameter` fields.
        open: makes it.
    """

    text: str
    options: type
    open: Open


def _open_embedded(recipe: Recipe, folder: Path, report: Report) -> Objective:
    from vl2_ros.training.embedded.objective import open_embedded

    return open_embedded(recipe, folder, report)


def _open_embedded_language(recipe: Recipe, folder: Path, report: Report) -> Objective:
    from vl2_ros.training.embedded.language import open_language

    return open_language(recipe, folder, report)


OBJECTIVES: Mapping[str, ObjectiveRow] = {
    "embedded": ObjectiveRow(
        "the whole embedded model on simulated frames", EmbeddedSettings, _open_embedded
    ),
    "embedded_language": ObjectiveRow(
        "the language side of the embedded model alone, on simulated frames",
        LanguageSettings,
        _open_embedded_language,
    ),
}
