"""Small graphs as files, beside the modules that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from vl2_ros.export.onnx_export import AxisSize, make_example
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.graph_modules import DecoderGraph
from vl2_ros.model.graphs import MAP_AXES, GraphSpec
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM

SMALL_RESNET = {
    "model_type": "resnet",
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [8, 16, 16, 32],
    "embedding_size": 8,
    "layer_type": "basic",
}
OPEN: Mapping[str, tuple[int, int, int]] = {
    "rows": (1, 2, 4),
    "tiles": (1, 3, 8),
    "regions": (1, 2, 8),
    "tokens": (1, 5, 64),
    "past": (0, 7, 64),
    "classes": (1, 3, 16),
    "keypoints": (1, 5, 68),
}
FIXED_HW = {"height": 64, "width": 96}
#: Twice what scores of queries in float16 are off at most, as a share of the best.
_CLEAR_GAP = 3e-3
_MOST_DRAWS = 200


def make_model(backbone: str = "swin") -> VisionLLM:
    """Make the tiny network, with random statistics in its batch norms."""
    torch.manual_seed(0)
    config = ModelConfig.tiny(with_pose=True)
    if backbone == "resnet":
        detection = replace(config.detection, backbone_config=SMALL_RESNET, decoder_layers=1)
        config = replace(config, detection=detection, pose=None)
    model = VisionLLM(config, TokenIds.from_base(64)).eval()
    with torch.no_grad():
        for part in model.modules():
            if getattr(part, "running_var", None) is not None:
                # Means of both signs: what stays below its mean everywhere is cut to zero.
                part.running_mean.uniform_(-0.5, 0.5)
                part.running_var.uniform_(0.5, 1.5)
        # Fresh box heads give every query its reference, whatever the image.
        for name, weight in model.named_parameters():
            if not weight.any() and "bias" not in name:
                weight.normal_(std=0.1)
    return model


@dataclass(frozen=True, eq=False)
class Exported:
    """One graph as a file and as a module.

    Attributes:
        spec: its row.
        module: float32 torch.
        path: the file.
        axes: the sizes that it was exported for.
        precision: of the file.
    """

    spec: GraphSpec
    module: nn.Module
    path: Path
    axes: Mapping[str, AxisSize]
    precision: str

    def inputs(self, **sizes: int) -> dict[str, Tensor]:
        """Make float32 inputs of some sizes; others are those that the graph is tuned for."""
        axes = {**self.axes, **sizes}
        if isinstance(self.module, DecoderGraph):
            # The maps follow the image.
            hw = (_choose(axes["height"]), _choose(axes["width"]))
            for index, shape in enumerate(self.module.decoder.list_map_shapes(hw)):
                names = (f"{axis}.{index}" for axis in MAP_AXES)
                axes |= dict(zip(names, shape, strict=True))
        return dict(zip(self.spec.input_names, make_example(self.spec, axes), strict=True))

    def clear_inputs(self, **sizes: int) -> dict[str, Tensor]:
        """Do as `inputs` for the detection decoder, with queries that any precision ranks alike.

        A query has what was learned for its rank. Two whose scores differ by less than float16 can
        tell would change places, and the answers of both be others.
        """
        found, wanted = [], self.inputs(**sizes)
        one_row = self.inputs(**{**sizes, "rows": 1})
        generator = torch.Generator().manual_seed(0)
        for _ in range(_MOST_DRAWS):
            row = {
                name: torch.randn(one.shape, generator=generator)
                if one.is_floating_point()
                else one
                for name, one in one_row.items()
            }
            if self._find_least_gap(row) > _CLEAR_GAP:
                found.append(row)
            if len(found) == len(wanted["pixel_mask"]):
                return {name: torch.cat([row[name] for row in found]) for name in wanted}
        raise AssertionError(f"{_MOST_DRAWS} draws rank no queries clearly")

    def _find_least_gap(self, inputs: Mapping[str, Tensor]) -> float:
        """Return the least difference of scores, as a share of the best, down to the first lost."""
        decoder = self.module.decoder
        count = decoder.config.map_count
        maps = list(inputs.values())[:count]
        others = {name: one for name, one in inputs.items() if not name.startswith("maps.")}
        with torch.inference_mode():
            scene = decoder.encode_maps(maps, **others)
            selected = decoder.query_selection(
                *(scene.image, scene.tokens, scene.classes, scene.class_mask),
                decoder.config.num_queries + 1,
            )
        scores = selected.class_logits[0].amax(-1)
        return float(((scores[:-1] - scores[1:]) / scores[0]).min())

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Run the file."""
        dtypes = {one.name: one.dtype_at(self.precision) for one in self.spec.inputs}
        feed = {name: one.numpy().astype(dtypes[name]) for name, one in inputs.items()}
        outputs = open_session(self.path).run(None, feed)
        return dict(zip(self.spec.output_names, outputs, strict=True))

    def expect(self, inputs: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Run the module."""
        with torch.inference_mode():
            outputs = self.module(*inputs.values())
        names = self.spec.output_names
        return {name: one.numpy() for name, one in zip(names, outputs, strict=True)}

    def check(self, inputs: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Compare both within the tolerance of the table, and return what the file gives."""
        found, expected = self.run(inputs), self.expect(inputs)
        for name, wanted in expected.items():
            assert found[name].shape == wanted.shape, name
            known = np.isfinite(wanted)
            assert np.array_equal(np.isfinite(found[name]), known), name
            largest = np.abs(wanted[known]).max()
            assert largest > 0, f"{name} is all zero, which compares nothing"
            share = np.abs(found[name][known] - wanted[known]).max() / largest
            assert share <= self.spec.tolerance[self.precision], (name, share)
        return found


def _choose(size: AxisSize) -> int:
    return size if isinstance(size, int) else size[1]


@cache
def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Load a file on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)
