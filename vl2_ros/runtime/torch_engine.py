"""Engines that run a checkpoint with eager torch.

On the CPU arrays are numpy views of the tensors (no copy); on CUDA the tensors themselves travel.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.model.network import VisionLLM
from vl2_ros.runtime.engine import Array, EngineInfo, LanguageStep


def _to_tensor(array: Array, device: torch.device) -> torch.Tensor:
    tensor = torch.as_tensor(array)
    return tensor if tensor.device == device else tensor.to(device, non_blocking=True)


def _to_array(tensor: torch.Tensor) -> Array:
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def _check_inputs(info: EngineInfo, inputs: Mapping[str, Array]) -> None:
    missing = sorted(set(info.inputs) - set(inputs))
    if missing:
        raise EngineError(
            f"{info.graph} needs the inputs {', '.join(info.inputs)}; missing: {', '.join(missing)}"
        )


class TorchVisionEncoder:
    """`pixels` (n, 3, S, S) float32 -> `image_tokens` (n * N, C): vision tower and projector.

    Where the model has a region encoder, `region_maps` (L, n, Cv, g, g) come with them.
    """

    def __init__(self, model: VisionLLM, device: torch.device) -> None:
        """Keep the network."""
        self._model = model
        self._device = device
        maps = () if model.region_encoder is None else ("region_maps",)
        self.info = EngineInfo(
            "vision_encoder", "torch", str(device), ("pixels",), ("image_tokens", *maps)
        )

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Encode the tiles of one frame."""
        _check_inputs(self.info, inputs)
        pixels = _to_tensor(inputs["pixels"], self._device)
        features = self._model.encode_images(pixels)
        output = {"image_tokens": features.image_tokens.flatten(0, 1)}
        if features.region_maps:
            output["region_maps"] = torch.stack(features.region_maps)
        return {name: _to_array(tensor) for name, tensor in output.items()}


class TorchRegionEncoder:
    """Regions of encoded tiles -> one feature each.

    `pixels` (n, 3, S, S) float32, `region_maps` (L, n, Cv, g, g), `masks` (R, S, S) 0 or 1,
    `tile_index` (R,) int64, the tile that each region lies on -> `region_features` (R, C).
    """

    def __init__(self, model: VisionLLM, device: torch.device) -> None:
        """Keep the network."""
        if model.region_encoder is None:
            raise ConfigError("the checkpoint has no region encoder")
        self._model = model
        self._device = device
        self.info = EngineInfo(
            "region_encoder",
            "torch",
            str(device),
            ("pixels", "region_maps", "masks", "tile_index"),
            ("region_features",),
        )

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Encode R regions."""
        _check_inputs(self.info, inputs)
        given = {name: _to_tensor(inputs[name], self._device) for name in self.info.inputs}
        features = self._model.encode_regions(
            given["pixels"], given["masks"], tuple(given["region_maps"]), given["tile_index"]
        )
        return {"region_features": _to_array(features)}


class TorchDetectionDecoder:
    """Pixels and super-link states -> raw classes, boxes and the two factors of the masks.

    `pixels` (1, 3, H, W) float32, `pixel_mask` (1, H, W) bool, `super_link` (1, N, K, C),
    `class_mask` (1, N) bool -> `pred_logits` (1, Q, N), `pred_boxes` (1, Q, 4) cxcywh normalised,
    `mask_queries` (1, Q, M), `mask_features` (1, M, H/4, W/4); their product is the mask logits.
    """

    def __init__(self, model: VisionLLM, device: torch.device) -> None:
        """Keep the decoder."""
        if model.detection_decoder is None:
            raise ConfigError("the checkpoint has no detection decoder")
        self._decoder = model.detection_decoder
        self._device = device
        self.info = EngineInfo(
            "detection_decoder",
            "torch",
            str(device),
            ("pixels", "pixel_mask", "super_link", "class_mask"),
            ("pred_logits", "pred_boxes", "mask_queries", "mask_features"),
        )

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Decode one frame for N slot groups."""
        _check_inputs(self.info, inputs)
        given = {name: _to_tensor(inputs[name], self._device) for name in self.info.inputs}
        output = self._decoder(
            given["pixels"], given["super_link"].float(), given["class_mask"], given["pixel_mask"]
        )
        return {name: _to_array(getattr(output, name)) for name in self.info.outputs}


class TorchPoseDecoder:
    """Pixels and super-link states of objects and keypoint names -> raw classes, boxes, keypoints.

    `pixels` (1, 3, H, W) float32, `pixel_mask` (1, H, W) bool, `super_link` (1, N, K, C) of the
    objects, `class_mask` (1, N) bool, `keypoint_link` (1, M, K, C) of the keypoint names,
    `keypoint_mask` (1, M) bool -> `pred_logits` (1, G, N), `pred_boxes` (1, G, 4) cxcywh
    normalised, `pred_keypoints` (1, G, M, 2) x and y normalised.
    """

    def __init__(self, model: VisionLLM, device: torch.device) -> None:
        """Keep the decoder."""
        if model.pose_decoder is None:
            raise ConfigError("the checkpoint has no pose decoder")
        self._decoder = model.pose_decoder
        self._device = device
        self.info = EngineInfo(
            "pose_decoder",
            "torch",
            str(device),
            (
                *("pixels", "pixel_mask", "super_link", "class_mask"),
                *("keypoint_link", "keypoint_mask"),
            ),
            ("pred_logits", "pred_boxes", "pred_keypoints"),
        )

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Decode one frame for N objects and M keypoints."""
        _check_inputs(self.info, inputs)
        given = {name: _to_tensor(inputs[name], self._device) for name in self.info.inputs}
        output = self._decoder(
            given["pixels"],
            given["super_link"].float(),
            given["class_mask"],
            given["keypoint_link"].float(),
            given["keypoint_mask"],
            given["pixel_mask"],
        )
        return {name: _to_array(getattr(output, name)) for name in self.info.outputs}


class TorchLanguageSession:
    """One answer with the key-value cache of transformers."""

    def __init__(self, model: VisionLLM, device: torch.device) -> None:
        """Start with an empty cache."""
        self._model = model
        self._device = device
        self._cache = model.new_cache()

    @torch.inference_mode()
    def feed(
        self,
        input_ids: np.ndarray,
        image_tokens: Array | None = None,
        region_features: Array | None = None,
    ) -> LanguageStep:
        """Append T positions; see `LanguageSession.feed`."""
        ids = _to_tensor(input_ids, self._device)[None]
        tokens, regions = (
            None if given is None else _to_tensor(given, self._device)
            for given in (image_tokens, region_features)
        )
        step = self._model.step(ids, self._cache, image_tokens=tokens, region_features=regions)
        return LanguageStep(
            last_logits=step.last_logits[0].float().cpu().numpy(), hidden=_to_array(step.hidden[0])
        )


class TorchLanguageModel:
    """The LLM and its super-link tables."""

    def __init__(self, model: VisionLLM, device: torch.device) -> None:
        """Keep the network."""
        self._model = model
        self._device = device
        self.info = EngineInfo(
            "language_model",
            "torch",
            str(device),
            ("input_ids", "image_tokens", "region_features"),
            ("last_logits", "hidden"),
        )

    def open_session(self) -> TorchLanguageSession:
        """Start an answer."""
        return TorchLanguageSession(self._model, self._device)
