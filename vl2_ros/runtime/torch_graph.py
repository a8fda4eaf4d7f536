"""Graphs of the table run by eager torch, for modules whose arguments are the graph's inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from vl2_ros.errors import EngineError
from vl2_ros.model.graphs import GRAPHS
from vl2_ros.runtime.engine import Array, EngineInfo


class TorchGraph:
    """One graph of `GRAPHS`: float32 in and out, whatever it computes in.

    On the CPU arrays are numpy views of tensors; on an accelerator the tensors themselves travel.
    """

    def __init__(
        self,
        graph: str,
        call: Callable[..., torch.Tensor],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Keep the module.

        Args:
            graph: name of a graph with one output.
            call: takes the inputs in the graph's order.
            device: where its weights are.
            dtype: of its weights; float inputs come in it.
        """
        spec = GRAPHS[graph]
        self._call = call
        self._device = device
        self._dtype = dtype
        self.info = EngineInfo(graph, "torch", str(device), spec.input_names, spec.output_names)

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Execute the graph once; see `Engine.run`."""
        missing = sorted(set(self.info.inputs) - set(inputs))
        if missing:
            raise EngineError(
                f"{self.info.graph} needs the inputs {', '.join(self.info.inputs)}; missing: "
                f"{', '.join(missing)}"
            )
        given = [self._take(inputs[name]) for name in self.info.inputs]
        try:
            output = self._call(*given).float()
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"{self._device} has too little memory for {self.info.graph} with inputs of "
                f"{[tuple(one.shape) for one in given]}; expected smaller ones, such as a smaller "
                "size_hw, or a memory budget that frees other decoders"
            ) from error
        array = output.numpy() if self._device.type == "cpu" else output
        return {self.info.outputs[0]: array}

    def _take(self, array: Array) -> torch.Tensor:
        tensor = torch.as_tensor(array)
        dtype = self._dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(device=self._device, dtype=dtype, non_blocking=True)
