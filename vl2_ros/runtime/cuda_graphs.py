"""Record a function of tensors on the GPU once per set of shapes, then replay it.

Replay launches all kernels of the function at once, which helps where each is short and Python
takes most of the time. Elsewhere than on CUDA the function is called as it is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vl2_ros.errors import ConfigError

TensorFunction = Callable[..., tuple[Tensor, ...]]
_Key = tuple[tuple[torch.Size, torch.dtype, torch.device], ...]

#: Calls on the recording stream before recording; libraries choose their kernels in them.
_WARM_UPS = 2
#: Shapes that are remembered as seen once.
_MOST_REMEMBERED = 256

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Recording:
    """A recorded call, with the memory that it reads and writes in every replay."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class GraphReplay:
    """Calls a function, by replay where the same shapes came before.

    A shape is recorded when it comes for the second time, up to a bound; all others run eagerly,
    and so does for good what cannot be recorded, such as code that reads a tensor's values. The
    result is a copy, which no later call overwrites. Calls from several threads take turns;
    all must be on the same stream, as they are by default.

    Args:
        call: takes tensors of one device, returns a tuple of tensors; must not depend on their
            values but through tensor operations, and its weights must stay where they are.
        most_shapes: recordings that are kept; each keeps the memory of one call.
        compiled: put torch.compile before it, which takes minutes for each set of shapes.
    """

    def __init__(
        self, call: TensorFunction, *, most_shapes: int = 8, compiled: bool = False
    ) -> None:
        """Store the function; nothing is recorded yet.

        Raises:
            ConfigError: if the bound is negative.
        """
        if most_shapes < 0:
            raise ConfigError(f"most_shapes must be 0 or more, got {most_shapes}")
        self._call: TensorFunction = torch.compile(call, dynamic=False) if compiled else call
        self._most_shapes = most_shapes
        self._recordings: dict[_Key, _Recording] = {}
        self._eager: set[_Key] = set()
        self._seen: set[_Key] = set()
        self._pool: tuple[int, int] | None = None
        self._lock = threading.Lock()

    @property
    def recorded(self) -> int:
        """How many sets of shapes have been recorded."""
        return len(self._recordings)

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Call the function.

        Args:
            inputs: tensors of one device.
        """
        if not inputs or inputs[0].device.type != "cuda":
            return self._call(*inputs)
        key = tuple((one.shape, one.dtype, one.device) for one in inputs)
        with self._lock, torch.cuda.device(inputs[0].device):
            recording = self._recordings.get(key)
            if recording is None and self._is_worth_recording(key):
                recording = self._record(key, inputs)
            if recording is None:
                return self._call(*inputs)
            return _replay(recording, inputs)

    def _is_worth_recording(self, key: _Key) -> bool:
        if key in self._eager or len(self._recordings) >= self._most_shapes:
            return False
        if key in self._seen:
            return True
        if len(self._seen) >= _MOST_REMEMBERED:
            self._seen.clear()
        self._seen.add(key)
        return False

    def _record(self, key: _Key, inputs: tuple[Tensor, ...]) -> _Recording | None:
        """Record a call; None where it cannot be."""
        kept = tuple(one.contiguous().clone() for one in inputs)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self._call(*kept)
        torch.cuda.current_stream().wait_stream(side)
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        try:
            # Other threads may continue to use the device meanwhile.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=side, capture_error_mode="thread_local"
            ):
                outputs = self._call(*kept)
        except RuntimeError as error:
            shapes = [tuple(one.shape) for one in inputs]
            _log.warning("no CUDA graph for inputs of %s, they run eagerly: %s", shapes, error)
            # A recording that broke off leaves its stream current, and its pool half used.
            torch.cuda.set_stream(current)
            _renew_generator(kept[0].device)
            self._pool = None
            self._eager.add(key)
            return None
        self._recordings[key] = _Recording(graph, kept, outputs)
        return self._recordings[key]


def _renew_generator(device: torch.device) -> None:
    """Give the device a random state that does not wait for a recording to continue."""
    generator = torch.cuda.default_generators[device.index]
    fresh = torch.Generator(device).manual_seed(generator.initial_seed())
    generator.graphsafe_set_state(fresh)


def _replay(recording: _Recording, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    for kept, given in zip(recording.inputs, inputs, strict=True):
        kept.copy_(given, non_blocking=True)
    recording.graph.replay()
    # Recordings share their memory, so the outputs last only until the next replay.
    return tuple(one.clone() for one in recording.outputs)
