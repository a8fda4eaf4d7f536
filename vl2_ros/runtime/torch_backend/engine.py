"""Run a checkpoint on PyTorch, eagerly or by replay of CUDA graphs.

On the CPU arrays are numpy views of the tensors (no copy, bfloat16 widened to float32); on CUDA
they are the tensors themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from vl2_ros.errors import EngineError
from vl2_ros.model.graph_modules import build_graph, spec_of
from vl2_ros.model.graphs import GraphSpec
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import PERCEPTION_PARTS
from vl2_ros.runtime.cuda_graphs import GraphReplay
from vl2_ros.runtime.engine import Array, EngineInfo, LanguageStep, PerceptionDecoder, Prefix
from vl2_ros.runtime.graph_inputs import check_graph_inputs
from vl2_ros.runtime.torch_backend.memory import explain_shortage


def _to_tensor(array: Array, device: torch.device) -> torch.Tensor:
    tensor = torch.as_tensor(array)
    if tensor.device == device:
        return tensor
    if device.type == "cuda" and tensor.device.type == "cpu":
        # From pinned memory the upload continues while the host prepares the next kernels.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _to_array(tensor: torch.Tensor) -> Array:
    if tensor.device.type != "cpu":
        return tensor
    # numpy knows no bfloat16.
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


class TorchEngine:
    """One graph of the table, run by torch in the precision of its weights."""

    def __init__(
        self,
        spec: GraphSpec,
        module: Callable[..., tuple[Tensor, ...]],
        device: torch.device,
    ) -> None:
        """Store the module.

        Args:
            spec: names of its inputs and outputs.
            module: accepts and returns tensors in the order of `spec`; on `device`.
            device: where it runs.
        """
        self._spec = spec
        self._module = module
        self._device = device
        self.info = EngineInfo(spec.name, "torch", str(device), spec.input_names, spec.output_names)

    @torch.inference_mode()
    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Execute the graph once; see `Engine.run`."""
        check_graph_inputs(self._spec, inputs)
        names = self.info.pick_outputs(outputs)
        given = [_to_tensor(inputs[name], self._device) for name in self.info.inputs]
        try:
            with explain_shortage(self.info.graph, self._device):
                tensors = self._module(*given)
        except RuntimeError as error:
            raise EngineError(
                f"{self.info.graph} with torch on {self._device} failed: {error}; check dtypes and "
                "sizes of its inputs, and the memory of the device"
            ) from error
        named = zip(self.info.outputs, tensors, strict=True)
        return {name: _to_array(tensor) for name, tensor in named if name in names}


def make_engine(
    model: VisionLLM, name: str, device: torch.device, *, cuda_graphs: bool = False
) -> TorchEngine:
    """Wrap a part of a network.

    Args:
        model: the network, on `device`.
        name: of the graph.
        device: where it runs.
        cuda_graphs: record it for repeated shapes, see `GraphReplay`; nothing elsewhere.

    Raises:
        ConfigError: if the network has no such part.
    """
    module: Callable[..., tuple[Tensor, ...]] = build_graph(model, name)
    if cuda_graphs and device.type == "cuda":
        module = GraphReplay(module)
    return TorchEngine(spec_of(model, name), module, device)


def make_decoder(
    model: VisionLLM, part: str, device: torch.device, *, cuda_graphs: bool = False
) -> PerceptionDecoder:
    """Wrap a perception decoder of a network; arguments and errors are those of `make_engine`."""
    graphs = (PERCEPTION_PARTS[part].backbone, part)
    return PerceptionDecoder(
        *(make_engine(model, graph, device, cuda_graphs=cuda_graphs) for graph in graphs)
    )


class TorchLanguageSession:
    """One answer with the key-value cache of transformers."""

    def __init__(
        self, model: VisionLLM, device: torch.device, prefix: Prefix | None = None
    ) -> None:
        """Start with an empty cache, or with a copy of a prefix."""
        self._model = model
        self._device = device
        self._cache = model.new_cache()
        for layer, (keys, values) in enumerate(prefix.cache if prefix else ()):
            self._cache.update(keys, values, layer)

    @torch.inference_mode()
    def feed(
        self,
        input_ids: np.ndarray,
        image_tokens: Array | None = None,
        region_features: Array | None = None,
        *,
        logit_count: int = 1,
    ) -> LanguageStep:
        """Append T positions; see `LanguageSession.feed`."""
        ids = _to_tensor(input_ids, self._device)[None]
        tokens, regions = (
            None if given is None else _to_tensor(given, self._device)
            for given in (image_tokens, region_features)
        )
        with explain_shortage("language_model", self._device):
            step = self._model.step(
                ids,
                self._cache,
                image_tokens=tokens,
                region_features=regions,
                logit_count=logit_count,
            )
        return LanguageStep(step.logits[0].cpu().numpy(), _to_array(step.hidden[0]))

    def take_back(self, count: int) -> None:
        """Remove the last `count` positions; see `LanguageSession.take_back`."""
        self._cache.crop(-count)

    def keep(self, count: int) -> Prefix:
        """Return the first `count` positions; see `LanguageSession.keep`."""
        # Copies: this session may take positions back and write others in their place.
        layers = [
            (one.keys[:, :, :count].clone(), one.values[:, :, :count].clone())
            for one in self._cache.layers
        ]
        return Prefix(count, layers, sum(k.nbytes + v.nbytes for k, v in layers))

    def accepts(self, count: int) -> bool:
        """Return True: PyTorch accepts any length."""
        return True


class TorchLanguageModel:
    """The LLM and its super-link tables."""

    def __init__(self, model: VisionLLM, device: torch.device) -> None:
        """Store the network."""
        self._model = model
        self._device = device
        self.info = EngineInfo(
            "language_model",
            "torch",
            str(device),
            ("input_ids", "image_tokens", "region_features"),
            ("last_logits", "hidden"),
        )

    def open_session(self, prefix: Prefix | None = None) -> TorchLanguageSession:
        """Start an answer; see `LanguageModel.open_session`."""
        return TorchLanguageSession(self._model, self._device, prefix)
