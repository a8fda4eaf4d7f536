"""The objectives that a recipe can name, in one table: name -> options, and how one is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vl2_ros.training.conversations.settings import ConversationSettings
from vl2_ros.training.embedded.settings import EmbeddedSettings, LanguageSettings, PartsSettings
from vl2_ros.training.eyes.settings import EyesSettings
from vl2_ros.training.words.settings import WordsSettings

if TYPE_CHECKING:
    from vl2_ros.training.objective import Objective
    from vl2_ros.training.recipes.recipe import Recipe

#: Called with what is prepared and the share of it that is done, 0..1.
Report = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Opening:
    """Where and for what an objective is opened.

    Attributes:
        folder: of the run. The tokenizer and the processing settings of the network, which go
            beside every checkpoint, are written there, and found there when the run resumes.
        batches_per_step: batches of a step on all processes: batch `number` is of the step
            `number // batches_per_step`.
        report: called with what is prepared and its share.
    """

    folder: Path
    batches_per_step: int
    report: Report


#: Opens an objective on the CPU: reads or makes its network, with the weights of `recipe.init` if
#: it names any. Torch's global generator was seeded before. What is trained is chosen afterwards.
Open = Callable[["Recipe", Opening], "Objective"]


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


def _open_embedded(recipe: Recipe, opening: Opening) -> Objective:
    from vl2_ros.training.embedded.objective import open_embedded

    return open_embedded(recipe, opening)


def _open_embedded_language(recipe: Recipe, opening: Opening) -> Objective:
    from vl2_ros.training.embedded.language import open_language

    return open_language(recipe, opening)


def _open_embedded_eyes(recipe: Recipe, opening: Opening) -> Objective:
    from vl2_ros.training.eyes.objective import open_eyes

    return open_eyes(recipe, opening)


def _open_embedded_words(recipe: Recipe, opening: Opening) -> Objective:
    from vl2_ros.training.words.objective import open_words

    return open_words(recipe, opening)


def _open_embedded_parts(recipe: Recipe, opening: Opening) -> Objective:
    from vl2_ros.training.embedded.parts import open_parts

    return open_parts(recipe, opening)


def _open_conversations(recipe: Recipe, opening: Opening) -> Objective:
    from vl2_ros.training.conversations.opening import open_conversations

    return open_conversations(recipe, opening)


OBJECTIVES: Mapping[str, ObjectiveRow] = {
    "conversations": ObjectiveRow(
        "any part of the network on any mixture of sources",
        ConversationSettings,
        _open_conversations,
    ),
    "embedded": ObjectiveRow(
        "the whole embedded model on simulated frames", EmbeddedSettings, _open_embedded
    ),
    "embedded_language": ObjectiveRow(
        "the language side of the embedded model alone, on simulated frames",
        LanguageSettings,
        _open_embedded_language,
    ),
    "embedded_eyes": ObjectiveRow(
        "the vision tower of the embedded model, on labels of its tokens",
        EyesSettings,
        _open_embedded_eyes,
    ),
    "embedded_words": ObjectiveRow(
        "answers of the embedded model in words, on labels of cells, then on images",
        WordsSettings,
        _open_embedded_words,
    ),
    "embedded_parts": ObjectiveRow(
        "poses, regions and the words for them of a finished embedded model, on simulated frames",
        PartsSettings,
        _open_embedded_parts,
    ),
}
