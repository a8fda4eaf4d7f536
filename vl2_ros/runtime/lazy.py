"""Load parts of a network at first use, and free them again to stay within a budget.

Knows no tensor library: the loader of a part returns its size. One caller at a time, as
everywhere in the flow; an image must be finished or closed before the next call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Mapping
from typing import Any, Generic, TypeVar

from vl2_ros.errors import EngineError
from vl2_ros.runtime.engine import Array, Engine, EngineInfo, ImageGenerator
from vl2_ros.structures import Frame, GeneratedImage, ImageOptions, ProgressEvent

_log = logging.getLogger(__name__)

T = TypeVar("T")
_MB = 1e6


class PartMemory:
    """The loaded parts, the least recently used first, and their budget."""

    def __init__(
        self, budget_bytes: int | None = None, release: Callable[[], None] = lambda: None
    ) -> None:
        """Start with nothing loaded.

        Args:
            budget_bytes: most memory of all loaded parts; None sets no limit.
            release: gives freed memory back to the system; called after parts were freed.
        """
        self._budget_bytes = budget_bytes
        self._release = release
        self._loaded: list[LazyPart[Any]] = []

    @property
    def used_bytes(self) -> int:
        """Return the bytes of all loaded parts."""
        return sum(part.nbytes for part in self._loaded)

    @property
    def loaded(self) -> tuple[str, ...]:
        """Return the names of the loaded parts, the least recently used first."""
        return tuple(part.name for part in self._loaded)

    def touch(self, part: LazyPart[Any]) -> None:
        """Note that a loaded part is used now."""
        if part in self._loaded:
            self._loaded.remove(part)
        self._loaded.append(part)

    def make_room(self, part: LazyPart[Any]) -> None:
        """Free parts until another one fits.

        Raises:
            EngineError: if it does not fit alone.
        """
        if self._budget_bytes is None:
            return
        budget_mb, needed_mb = self._budget_bytes / _MB, part.expected_bytes / _MB
        if part.expected_bytes > self._budget_bytes:
            raise EngineError(
                f"{part.name} needs {needed_mb:.1f} MB, which is more than the memory budget of "
                f"{budget_mb:.1f} MB; raise memory_budget_mb, or name {part.name} in `without`"
            )
        freed = []
        while self._loaded and self.used_bytes + part.expected_bytes > self._budget_bytes:
            oldest = self._loaded.pop(0)
            freed.append(oldest.name)
            oldest.unload()
        if freed:
            _log.info("freed %s for %s (%.1f MB)", ", ".join(freed), part.name, needed_mb)
            self._release()


class LazyPart(Generic[T]):
    """One part: loaded at first use, and again after it was freed."""

    def __init__(
        self,
        name: str,
        load: Callable[[], tuple[T, int]],
        memory: PartMemory,
        expected_bytes: int = 0,
    ) -> None:
        """Load nothing yet.

        Args:
            name: for messages.
            load: returns the part and its bytes.
            memory: shared by all parts of a network.
            expected_bytes: its size, known before it is loaded.
        """
        self.name = name
        self.expected_bytes = expected_bytes
        self.nbytes = 0
        self._load = load
        self._memory = memory
        self._value: T | None = None

    def get(self) -> T:
        """Return the part, loading it where needed.

        Raises:
            EngineError: if it does not fit into the budget.
            VL2Error: if it cannot be loaded.
        """
        if self._value is None:
            self._memory.make_room(self)
            self._value, self.nbytes = self._load()
        self._memory.touch(self)
        return self._value

    def unload(self) -> None:
        """Drop the part; its memory is freed with its last reference."""
        self._value, self.nbytes = None, 0


class LazyEngine(Generic[T]):
    """An `Engine` whose part is loaded with its first run."""

    def __init__(self, info: EngineInfo, part: LazyPart[T], pick: Callable[[T], Engine]) -> None:
        """Load nothing yet.

        Args:
            info: of the engine.
            part: has it, maybe among others.
            pick: returns it.
        """
        self.info = info
        self._part = part
        self._pick = pick

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Execute the graph once; see `Engine.run`."""
        return self._pick(self._part.get()).run(inputs, outputs)


class LazyImageGenerator:
    """An `ImageGenerator` whose part is loaded with its first image."""

    def __init__(self, info: EngineInfo, part: LazyPart[ImageGenerator]) -> None:
        """Store the part; `info` is that of its denoiser."""
        self.info = info
        self._part = part

    def generate(
        self, states: Array, options: ImageOptions, source: Frame | None = None
    ) -> Generator[ProgressEvent, None, GeneratedImage]:
        """Generate one image; see `ImageGenerator.generate`."""
        return (yield from self._part.get().generate(states, options, source))
