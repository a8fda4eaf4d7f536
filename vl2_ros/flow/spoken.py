"""Have the language model answer a prompt: generate with a draft, or read a known answer.

Turns features into words and the super-link states of each routing token. Knows no decoder.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vl2_ros.flow.branches import Condition
from vl2_ros.flow.engine_ranges import most_of
from vl2_ros.flow.frame_memory import FrameMemory
from vl2_ros.flow.generate import generate
from vl2_ros.flow.prompt_features import PromptFeatures
from vl2_ros.flow.shared_prefix import SharedPrefixes
from vl2_ros.model.language.slots import gather_slots, slot_counts
from vl2_ros.processing.calibration import Calibration
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.answer import ParsedAnswer, parse_answer, parse_answer_text
from vl2_ros.processing.language.answer_stream import AnswerStream
from vl2_ros.processing.language.command_prompt import CommandPrompt
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.processing.language.yes_no import YesNoScorer
from vl2_ros.runtime.engine import Array, LanguageModel
from vl2_ros.structures import Command, Event, Frame, Route, TextEvent


@dataclass(frozen=True, slots=True, eq=False)
class SpokenAnswer:
    """The answer of the language model to a command about a frame.

    Attributes:
        parsed: its words and what they say.
        raw_text: as generated, with its routing tokens.
        conditions: the routing tokens that it opened, in order.
        token_ids: as generated, without slots; empty where the answer was known.
        score: see `Result.answer_score`.
        single: phrases that stand for one thing, see `TaskFormat.single`.
        in_domain: see `Result.in_domain`.
        age: see `Result.answer_age`.
    """

    parsed: ParsedAnswer
    raw_text: str
    conditions: tuple[Condition, ...]
    token_ids: tuple[int, ...] = ()
    score: float | None = None
    single: frozenset[str] = frozenset()
    in_domain: bool | None = None
    age: int = 0

    def calibrate_score(self, limits: Calibration) -> float | None:
        """Return how often answers "yes" or "no" of this score were right."""
        if self.score is None:
            return None
        says_yes = self.parsed.text.lstrip().lower().startswith("yes")
        return limits.calibrate_score(self.score, says_yes=says_yes)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Return the route of each routing token."""
        return tuple(condition.route for condition in self.conditions)


class Speaker:
    """Answers prompts; of earlier ones it keeps only what the frame memory does.

    Args:
        language_model: executes the language side.
        tokenizer: tokenizer of the checkpoint.
        processing: how its prompts are prepared.
        frame_memory: keeps the start of prompts with their frames.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        tokenizer: Tokenizer,
        processing: ProcessingConfig,
        frame_memory: FrameMemory,
    ) -> None:
        """Store the parts."""
        self._language_model = language_model
        self._tokenizer = tokenizer
        self._processing = processing
        self._prefixes = SharedPrefixes(language_model, frame_memory, tokenizer.tokens, processing)
        self._slots = slot_counts(
            tokenizer.tokens, num_embs=processing.num_embs, num_embs_gen=processing.num_embs_gen
        )
        self._yes_no = YesNoScorer(tokenizer)

    def generate(
        self,
        command: Command,
        prompt: CommandPrompt,
        prompt_ids: np.ndarray,
        features: PromptFeatures,
        draft: Sequence[int],
        frame: Frame | None = None,
    ) -> Generator[Event, None, SpokenAnswer]:
        """Generate the answer, yielding its words as they come.

        Args:
            command: the sentence and its limits.
            prompt: of the command.
            prompt_ids: (T,) int64 of the prompt.
            features: of its images and regions.
            draft: ids that the answer may consist of; see `generate.generate`.
            frame: that the start of the prompt is kept with; None keeps nothing.
        """
        draft = draft[: command.max_new_tokens]
        drafted = sum(1 + self._slots.get(token_id, 0) for token_id in draft)
        opening = self._prefixes.open(frame, prompt, prompt_ids, drafted)
        ids: list[int] = []
        states: list[Array] = []
        logits: list[np.ndarray] = []
        stream = AnswerStream(self._tokenizer)
        is_shown = True
        for token in generate(
            opening.session,
            prompt_ids,
            tokens=self._tokenizer.tokens,
            num_embs=self._processing.num_embs,
            num_embs_gen=self._processing.num_embs_gen,
            max_new_tokens=command.max_new_tokens,
            most_past=most_of(self._language_model.info.ranges, "past", tokens=1),
            begun=opening.begun,
            draft=draft,
            image_tokens=None if opening.begun else features.image_tokens,
            region_features=features.region_features,
        ):
            ids.append(token.token_id)
            if len(logits) < self._yes_no.depth:
                logits.append(token.logits)
            if token.slot_states is not None:
                states.append(token.slot_states)
            stream.add(token.token_id)
            # Those of the draft come at once: only the last of them is worth an event.
            is_shown = not token.is_drafted
            if is_shown:
                yield TextEvent(stream.text, stream.routes)
        if not is_shown:
            yield TextEvent(stream.text, stream.routes)
        self._prefixes.keep(frame, opening, prompt_ids)
        parsed = parse_answer(ids, self._tokenizer, command.text)
        labels = prompt.format.labels
        conditions = tuple(
            Condition(group.route, labels.get(group.phrase, group.phrase), slot_states)
            for group, slot_states in zip(parsed.groups, states, strict=True)
        )
        return SpokenAnswer(
            parsed,
            self._tokenizer.decode(ids, keep_special=True),
            conditions,
            token_ids=tuple(ids),
            score=None if conditions else self._yes_no.score(parsed.text, ids, logits),
            single=prompt.format.single,
        )

    def read(
        self,
        prompt: CommandPrompt,
        ids: np.ndarray,
        features: PromptFeatures,
        frame: Frame | None = None,
    ) -> SpokenAnswer:
        """Compute the states of a known answer, in one pass.

        Args:
            prompt: with its answer.
            ids: (T,) int64 of both.
            features: of its images and regions.
            frame: that the start of the prompt is kept with; None keeps nothing.
        """
        opening = self._prefixes.open(frame, prompt, ids, 0)
        rest = ids[opening.begun :]
        image_tokens = None if opening.begun else features.image_tokens
        step = opening.session.feed(rest, image_tokens, features.region_features)
        self._prefixes.keep(frame, opening, ids)
        groups = gather_slots(step.hidden, rest.tolist(), self._tokenizer.tokens, self._slots)
        conditions = tuple(
            Condition(Route(group.route), phrase, group.states)
            for group, phrase in zip(groups, prompt.format.phrases, strict=True)
        )
        answer = prompt.format.answer or ""
        parsed = parse_answer_text(answer)
        return SpokenAnswer(parsed, answer, conditions, single=prompt.format.single)


def repeat_answer(
    spoken: SpokenAnswer, in_domain: bool | None
) -> Generator[Event, None, SpokenAnswer]:
    """Yield the words of an earlier answer, and return it for the frame after its last one."""
    yield TextEvent(spoken.parsed.text, tuple(group.route for group in spoken.parsed.groups))
    return replace(spoken, in_domain=in_domain, age=spoken.age + 1)
