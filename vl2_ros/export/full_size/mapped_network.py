"""A network whose weights stay in the files of its checkpoint until something computes with them.

Files are mapped: what is read of them lies in memory that the system takes back when it is short.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import torch
from onnx_ir.tensor_adapters import TorchTensor
from torch import Tensor, nn

from vl2_ros.errors import EngineError
from vl2_ros.export.weight_storage import store_narrow
from vl2_ros.model.checkpoint.opening import open_checkpoint
from vl2_ros.model.checkpoint.plan import Place
from vl2_ros.model.checkpoint.shards import iterate_tensors
from vl2_ros.model.checkpoint.weights import copy_checked, fill_place
from vl2_ros.model.graph_modules import build_graph
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import graph_of

#: Smaller weights are read while a graph is traced: the exporter computes with some of them.
_LEAST_VALUES = 1 << 16
_PAGE = 4096
_HALVES = (torch.float16, torch.bfloat16)
_ONNX_DTYPES = {
    torch.float32: onnx_ir.DataType.FLOAT,
    torch.float16: onnx_ir.DataType.FLOAT16,
    torch.bfloat16: onnx_ir.DataType.BFLOAT16,
}


class MappedNetwork:
    """A checkpoint as a network that is empty between uses.

    Attributes:
        model: the network; weights have no values, computed tables do.
    """

    model: VisionLLM

    def __init__(self, weights: Path, parts: Collection[str] | None = None) -> None:
        """Find every tensor; no value is read.

        Args:
            weights: a checkpoint folder.
            parts: see `load_model`.

        Raises:
            CheckpointError: if a file, a name or a shape is not as expected.
            ConfigError: if the model is a variant that is not supported.
        """
        opened = open_checkpoint(weights, parts=parts)
        assert isinstance(opened.model, VisionLLM)
        self.model = opened.model.eval()
        self._places = opened.places
        self._empties = self.model.state_dict(keep_vars=True)
        targets = opened.plan.targets
        self._stored = {
            target.name: target.take(tensor)
            for name, tensor in iterate_tensors(opened.files, targets.keys())
            for target in targets[name]
        }

    def build_graph(self, name: str) -> nn.Module:
        """Make the module of a graph; a prompt mapper's reads the empty text when it is made.

        Args:
            name: see `graph_modules.build_graph`.
        """
        if graph_of(name) != "prompt_mapper":
            return build_graph(self.model, name)
        encoder = self.model.get_submodule(name.partition(".")[0]).get_submodule("text_encoder")
        with self.filled(encoder, torch.float32):
            return build_graph(self.model, name)

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Return a copy of a tensor.

        Args:
            name: one of the names that the network has it under.
            dtype: of the copy where it has floating-point numbers.

        Raises:
            CheckpointError: if a value is NaN, infinite or too large for `dtype`.
        """
        return copy_checked(name, self._find(name), dtype, "cpu")

    def find_dtype(self, name: str) -> torch.dtype:
        """Return the dtype in which a tensor is stored."""
        return self._find(name).dtype

    def _find(self, name: str) -> Tensor:
        known = (one for one in self._places[name].names if one in self._stored)
        return self._stored[next(known)]

    def _places_of(self, module: nn.Module) -> list[Place]:
        """Return the places of the stored tensors that a module of the network has."""
        own = {id(one) for one in module.state_dict(keep_vars=True).values()}
        state = self.model.state_dict(keep_vars=True)
        places = {id(state[name]): place for name, place in self._places.items()}
        return [place for key, place in places.items() if key in own]

    @contextmanager
    def filled(self, module: nn.Module, dtype: torch.dtype) -> Iterator[None]:
        """Give a module its weights as long as the block lasts.

        Args:
            module: a part of the network, or one that was made of parts.
            dtype: of all floating-point weights.
        """
        places = self._places_of(module)
        for place in places:
            fill_place(self.model, place, self.read(place.names[0], dtype))
        try:
            yield
        finally:
            self._empty(places)

    def _empty(self, places: Collection[Place]) -> None:
        for place in places:
            fill_place(self.model, place, self._empties[place.names[0]].detach())

    @contextmanager
    def streamed(self, dtype: torch.dtype) -> Iterator[None]:
        """Let the language model compute: each of its layers is read when it is called.

        Args:
            dtype: of its weights while they are used.
        """
        network = self.model.llm.model
        units = (*network.layers, network.embed_tokens, network.norm, self.model.llm.lm_head)
        with ExitStack() as stack:
            for unit in units:
                self._stream(unit, dtype, stack)
            yield

    def _stream(self, unit: nn.Module, dtype: torch.dtype, stack: ExitStack) -> None:
        in_use = ExitStack()

        def fill(*_: Any) -> None:
            in_use.enter_context(self.filled(unit, dtype))

        def empty(*_: Any) -> None:
            in_use.close()

        stack.callback(in_use.close)
        stack.callback(unit.register_forward_pre_hook(fill).remove)
        stack.callback(unit.register_forward_hook(empty).remove)

    @contextmanager
    def traced(self, module: nn.Module, dtype: torch.dtype) -> Iterator[TracedWeights]:
        """Give a module weights to be traced with: large ones are zeros that take no memory.

        Args:
            module: a part of the network, or one that was made of parts.
            dtype: of all floating-point weights.
        """
        places = self._places_of(module)
        large = [one for one in places if one.is_float and math.prod(one.shape) >= _LEAST_VALUES]
        small = [one for one in places if one not in large]
        try:
            for place in small:
                fill_place(self.model, place, self.read(place.names[0], dtype))
            with TracedWeights(self, large, dtype) as traced:
                for place, zeros in traced.zeros:
                    fill_place(self.model, place, zeros)
                yield traced
        finally:
            self._empty(places)


class TracedWeights:
    """Zeros in the place of weights, which are known again in the graph that is traced with them.

    They lie in a mapped file that has a length but no content.
    """

    def __init__(self, network: MappedNetwork, places: list[Place], dtype: torch.dtype) -> None:
        """Make the zeros; a block of `with` deletes their file."""
        self._network, self._dtype = network, dtype
        sizes = [math.prod(place.shape) * dtype.itemsize for place in places]
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + -(-size // _PAGE) * _PAGE)
        self._file = tempfile.NamedTemporaryFile(prefix="vl2_", suffix=".zeros")  # noqa: SIM115
        self._file.truncate(max(starts[-1], _PAGE))
        content = torch.from_file(
            self._file.name, shared=True, size=max(starts[-1], _PAGE), dtype=torch.uint8
        )
        spans = zip(places, starts, sizes, strict=False)
        #: Each place with zeros of its shape.
        self.zeros = [
            (place, content[start : start + size].view(dtype).view(place.shape))
            for place, start, size in spans
        ]
        self._first = content.data_ptr()
        self._names = {
            self._first + start: place.names[0]
            for place, start in zip(places, starts, strict=False)
        }

    def __enter__(self) -> TracedWeights:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the file."""
        self._file.close()

    def put_back(self, model: onnx_ir.Model, *, is_compact: bool) -> None:
        """Replace the zeros of a graph by the weights, in place; each is read when it is written.

        Args:
            model: traced while this was open.
            is_compact: float32 weights stay in the narrower dtype in which they are stored, with a
                node that widens them.

        Raises:
            EngineError: if the exporter computed with weights, so that some are lost.
        """
        for value in list(model.graph.initializers.values()):
            assert value.const_value is not None
            if value.const_value.size < _LEAST_VALUES:
                continue
            raw = value.const_value.numpy()
            name = self._names.get(raw.__array_interface__["data"][0])
            if name is None:
                raise EngineError(
                    f"the exporter made a constant {value.name} {raw.shape} of the weights of a "
                    "large network; change the module behind the graph so that it does not"
                )
            stored = self._network.find_dtype(name)
            narrow = is_compact and self._dtype == torch.float32 and stored in _HALVES
            tensor = self._defer(name, raw, stored if narrow else self._dtype)
            if narrow:
                store_narrow(model, value, tensor)
            else:
                value.const_value = tensor

    def _defer(self, name: str, zeros: np.ndarray, dtype: torch.dtype) -> onnx_ir.LazyTensor:
        is_turned = not zeros.flags.c_contiguous

        def read() -> onnx_ir.TensorProtocol:
            values = self._network.read(name, dtype)
            return TorchTensor(values.T.contiguous() if is_turned else values)

        shape = onnx_ir.Shape(zeros.shape)
        return onnx_ir.LazyTensor(read, _ONNX_DTYPES[dtype], shape, name=name)
