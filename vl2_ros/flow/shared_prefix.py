"""The start of a prompt that all commands about a frame share: fed once, kept with the frame.

It reaches from the first token to the last of the image. Two prompts share it where the ids are
equal and the image is the frame alone, encoded in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vl2_ros.flow.engine_ranges import most_of
from vl2_ros.flow.frame_memory import FrameMemory
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.command_prompt import CommandPrompt
from vl2_ros.runtime.engine import LanguageModel, LanguageSession, Prefix
from vl2_ros.structures import Frame

_KEY = "prefix"


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """Ids (P,) int64 and what the language model made of them and of the frame."""

    ids: np.ndarray
    prefix: Prefix


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """A session at the start of a prompt.

    Attributes:
        session: of the language model.
        begun: positions of the prompt that it has.
        shared: positions of the prompt that further commands about the frame may begin with.
        rest: positions that follow those in the same call.
    """

    session: LanguageSession
    begun: int
    shared: int
    rest: int


class SharedPrefixes:
    """Opens sessions behind what earlier commands about the same frame fed.

    Args:
        language_model: whose sessions are opened.
        memory: of the frames.
        tokens: ids of the special tokens.
        config: how images are encoded.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        memory: FrameMemory,
        tokens: TokenIds,
        config: ProcessingConfig,
    ) -> None:
        """Store the parts."""
        self._language_model = language_model
        self._memory = memory
        self._tokens = tokens
        self._config = config

    def open(
        self, frame: Frame | None, prompt: CommandPrompt, ids: np.ndarray, more: int
    ) -> Opening:
        """Open a session for a prompt, behind its kept start where the engine accepts the rest.

        Args:
            frame: that something may be kept of; None: nothing is.
            prompt: whose ids they are.
            ids: (T,) int64.
            more: positions that are to follow the prompt in the same call.
        """
        shared = self._count_shared(frame, prompt, ids)
        rest = len(ids) - shared + more
        kept = self._memory.find(frame, _KEY) if shared else None
        if isinstance(kept, _Kept) and np.array_equal(kept.ids, ids[:shared]):
            session = self._language_model.open_session(kept.prefix)
            # An engine may have one range for prompts and one for single tokens.
            if session.accepts(rest):
                return Opening(session, shared, shared, rest)
        return Opening(self._language_model.open_session(), 0, shared, rest)

    def keep(self, frame: Frame | None, opening: Opening, ids: np.ndarray) -> None:
        """Keep the start of a prompt that was fed.

        Nothing is kept that was kept before, or that the engine could not have continued with the
        rest of this prompt.
        """
        ranges, shared = self._language_model.info.ranges, opening.shared
        if shared > opening.begun and most_of(ranges, "tokens", past=shared) >= opening.rest:
            prefix = opening.session.keep(shared)
            kept = _Kept(ids[:shared].copy(), prefix)
            self._memory.put(frame, _KEY, kept, prefix.nbytes)

    def _count_shared(self, frame: Frame | None, prompt: CommandPrompt, ids: np.ndarray) -> int:
        """Return up to which position a prompt depends on the frame alone; 0 where on more."""
        # Regions lie on the image as a square, which is encoded in another way.
        is_square = prompt.region_frames and self._config.aspect != "anyres"
        if frame is None or prompt.frames != (frame,) or is_square:
            return 0
        shared = int(np.flatnonzero(ids == self._tokens.image_patch)[-1]) + 1
        has_regions = (ids[:shared] == self._tokens.region).any()
        return 0 if has_regions else shared
