"""Write the sentence of an answer so that it agrees with what the decoders found.

The one place where words and instances meet. An answer that only names things becomes a sentence
about the instances; one that says more keeps its words, and what they claim in vain is added.
Knows no engine.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from vl2_ros.errors import InputError
from vl2_ros.processing.language.answer import NAMELESS, ParsedAnswer
from vl2_ros.processing.language.parse import Asked, Task, understand
from vl2_ros.processing.language.words import (
    join_names,
    plural,
    singular,
    strip_determiner,
    with_article,
)
from vl2_ros.structures import Branch, Route

#: The text of an answer "yes" or "no" whose probability is too small.
NOT_SURE = "I am not sure."
#: Begin a description in place of a name: "something to drink from".
_NO_NAME = re.compile(
    r"(?:something|anything|everything|what|whatever|which|who|where|that)\b", re.IGNORECASE
)
#: Tasks whose sentence names what is looked for.
_NAMING = frozenset({Task.DETECT, Task.OUTLINE, Task.LABEL, Task.GROUND, Task.COUNT, Task.POSE})


@dataclass(frozen=True, slots=True)
class _Sought:
    """A phrase of the answer and what was found of it.

    Attributes:
        phrase: as the answer has it.
        count: instances; 1 where pixels were asked for and there are some of its class.
        route: whose decoder looked for it.
        is_one: it stands for one certain thing, as a region does.
        is_class: pixels were asked for, so that a number says nothing.
        is_posed: its keypoints were found.
    """

    phrase: str
    count: int
    route: Route
    is_one: bool
    is_class: bool
    is_posed: bool

    @property
    def name(self) -> str:
        """The phrase without determiner; in the singular where it can be counted."""
        bare = strip_determiner(self.phrase)
        return bare if self.route is Route.GROUND or self.is_class else singular(bare)

    def describe(self) -> str:
        """Return it with its number: "a mug", "2 mugs", "no mug"."""
        if _NO_NAME.match(self.phrase):
            return f'{"something" if self.count else "nothing"} for "{self.phrase}"'
        if not self.count:
            return f"no {self.name}"
        posed = " with keypoints" if self.is_posed else ""
        if self.is_one or self.is_class:
            return self.name + posed
        if self.route is Route.GROUND:
            return f"the {self.name}"
        if self.count == 1:
            return with_article(self.name) + posed
        several = plural(self.name)
        # "2 times man riding a horse": which word is counted is not known.
        is_known = several != self.name or " " not in self.name
        return f"{self.count} {several if is_known else f'times {self.name}'}{posed}"


def write_sentence(
    parsed: ParsedAnswer,
    branches: Sequence[Branch],
    command_text: str,
    single: Collection[str] = (),
) -> str:
    """Write the text of a result.

    Args:
        parsed: the model's answer.
        branches: what was found for it; without any the model's words are the text.
        command_text: the user's sentence.
        single: phrases that stand for one certain thing.

    Returns:
        one or several sentences; none of them claims a phrase without an instance uncontradicted.
    """
    if not branches:
        return parsed.text
    asked = _understand(command_text)
    sought = _gather(branches, single, is_class=asked.task is Task.LABEL)
    missing = [one for one in sought if not one.count]
    is_list = any(one.route is not Route.GROUND for one in sought)
    if asked.task is Task.COUNT or (parsed.only_names and (is_list or missing)):
        found = [one for one in sought if one.count]
        text = _say_found([*found, *missing])
    elif missing:
        text = f"{_close(parsed.text)} {_say_found(missing)}".lstrip()
    else:
        text = parsed.text
    if parsed.only_names and asked.task in _NAMING:
        text = f"{_close(text)} {_name_changes(asked, sought, command_text)}".rstrip()
    return text


def _understand(command_text: str) -> Asked:
    try:
        return understand(command_text)
    except InputError:
        return Asked(Task.TALK)


def _gather(
    branches: Sequence[Branch], single: Collection[str], *, is_class: bool
) -> list[_Sought]:
    """List every phrase once: tokens in a row and repeated phrases speak of the same things."""
    best: dict[str, _Sought] = {}
    for branch in branches:
        counts = _count_classes(branch) if is_class else branch.counts
        for phrase, count in zip(branch.phrases, counts, strict=True):
            known = best.get(phrase)
            if known is None or count > known.count:
                is_posed = branch.detections.keypoints is not None
                best[phrase] = _Sought(
                    phrase, count, branch.route, phrase in single, is_class, is_posed
                )
    return list(best.values())


def _count_classes(branch: Branch) -> Iterator[int]:
    """Yield 1 for a phrase that has pixels of its class only, which is no instance."""
    for class_id, count in enumerate(branch.counts):
        pixels = branch.label_map is not None and (branch.label_map.class_ids == class_id).any()
        yield count or int(pixels)


def _say_found(things: Sequence[_Sought]) -> str:
    return f"I found {join_names([one.describe() for one in things])}."


def _close(text: str) -> str:
    """End a sentence that something follows."""
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _name_changes(asked: Asked, sought: Sequence[_Sought], command_text: str) -> str:
    """Say which things were looked for in place of the ones that were asked for."""
    said = _words(command_text)
    changed = []
    for index, one in enumerate(sought):
        if _words(one.phrase) - {NAMELESS} <= said:
            continue
        wanted = asked.names[index] if len(asked.names) == len(sought) else ""
        looked = plural(singular(strip_determiner(one.phrase)))
        changed.append(f"{looked}, not {plural(wanted)}" if wanted else looked)
    return f"I looked for {' and for '.join(changed)}." if changed else ""


def _words(text: str) -> set[str]:
    """Return the words of a text in lower case, singular and without possessive endings."""
    return {singular(word) for word in re.findall(r"[^\W_]+", text.lower())}
