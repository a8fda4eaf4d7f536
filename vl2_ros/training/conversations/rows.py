"""Encode a training sample as tensors: prompt, tiles, regions, the decoder's image, targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vl2_ros.datasets.samples import (
    Group,
    LabelledObjects,
    LabelledPoses,
    TargetImage,
    TrainingSample,
)
from vl2_ros.errors import InputError
from vl2_ros.geometry import Letterbox
from vl2_ros.model.decoders.targets import ObjectTargets
from vl2_ros.model.diffusion.losses import ImageTargets
from vl2_ros.model.pose.targets import PoseTargets
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import (
    count_tiles,
    preprocess_decoder,
    preprocess_pose,
    preprocess_vision,
)
from vl2_ros.processing.images.regions import preprocess_region_square, region_mask
from vl2_ros.processing.images.training_images import (
    DRAWN_SIDE,
    EDITED_SIDE,
    preprocess_drawn,
    preprocess_edited,
)
from vl2_ros.processing.language.prompt import encode_conversation
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.structures import Frame, PromptKind, Route, VisualPrompt
from vl2_ros.training.conversations.batch import EncodedSample, LabelledImages

_NO_POINTS = np.zeros((0, 2))


class EncodeCaptions(Protocol):
    """Encodes captions for an image generator, such as `CaptionTokenizer`."""

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Return (n, 77) int64 ids."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageForm:
    """The form in which an image generator is trained.

    Attributes:
        side: most pixels of its square images.
        captions: encodes captions; None trains without them.
    """

    side: int
    captions: EncodeCaptions | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RowEncoder:
    """Encodes samples for one network.

    Attributes:
        tokenizer: of the network.
        config: how its images and prompts are prepared.
        images: form of GENERATION and EDITING, of those that the network has.
        names: names that routing tokens may stand for -> their numbers.
    """

    tokenizer: Tokenizer
    config: ProcessingConfig
    images: Mapping[Group, ImageForm] = field(default_factory=dict)
    names: Mapping[str, int] = field(default_factory=dict)

    def encode(self, sample: TrainingSample, scale: float = 1.0) -> EncodedSample:
        """Encode one sample.

        Args:
            sample: in the trained formats.
            scale: factor on the size of a perception decoder's image.

        Raises:
            InputError: naming the sample, if its parts do not fit together, it is too long, or the
                network lacks the part that it trains.
        """
        try:
            return self._encode(sample, scale)
        except InputError as error:
            raise InputError(f"sample {sample.key or '(without a key)'}: {error}") from error

    def _encode(self, sample: TrainingSample, scale: float) -> EncodedSample:
        tiles = [count_tiles(frame.frame_hw, self.config) for frame in sample.images]
        ids, labels = encode_conversation(
            sample.rounds, self.tokenizer, self.config, tile_counts=tiles
        )
        masks, index = self._encode_regions(sample, tiles)
        pixels, pixel_mask, targets = self._encode_targets(sample, scale)
        return EncodedSample(
            group=sample.group,
            ids=torch.from_numpy(ids),
            labels=torch.from_numpy(labels),
            tiles=torch.from_numpy(self._cut_tiles(sample)),
            region_masks=torch.from_numpy(masks),
            region_tiles=torch.from_numpy(index),
            names=self._number_names(sample),
            pixels=pixels,
            pixel_mask=pixel_mask,
            targets=targets,
        )

    def encode_labelled(self, sample: TrainingSample, scale: float = 1.0) -> LabelledImages | None:
        """Encode the decoder's image of a sample alone, with its labels.

        Args:
            sample: with labelled objects or poses.
            scale: as in `encode`.

        Returns:
            One image; None of a sample whose names are of no list.
        """
        names = self._number_names(sample)
        if not len(names):
            return None
        pixels, pixel_mask, targets = self._encode_targets(sample, scale)
        if pixels is None or pixel_mask is None or isinstance(targets, ImageTargets | None):
            return None
        return LabelledImages(pixels[None], pixel_mask[None], (targets,), (names,))

    def _number_names(self, sample: TrainingSample) -> Tensor:
        numbers = [self.names[one] for one in sample.names if one in self.names]
        is_known = len(numbers) == len(sample.names)
        return torch.tensor(numbers if is_known else [], dtype=torch.int64)

    def _cut_tiles(self, sample: TrainingSample) -> np.ndarray:
        """Return the tiles (n, 3, S, S) of all images; squashed whole images behind regions."""
        side = self.config.vision_side
        nothing = np.zeros((0, 3, side, side), np.float32)
        if sample.regions and self.config.aspect != "anyres":
            cut = [preprocess_region_square(frame, self.config)[None] for frame in sample.images]
        else:
            cut = [preprocess_vision(frame, self.config) for frame in sample.images]
        return np.concatenate([nothing, *cut])

    def _encode_regions(
        self, sample: TrainingSample, tiles: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return masks (R, S, S) and the last tile (R,) of the image of each."""
        images = sample.region_images
        if len(images) != len(sample.regions) or not set(images) <= set(range(len(tiles))):
            raise InputError(
                f"expected the index of one of {len(tiles)} images for each of "
                f"{len(sample.regions)} regions, got {list(images)}"
            )
        side = self.config.vision_side
        masks = [
            region_mask(
                VisualPrompt(PromptKind.MASK, _NO_POINTS, mask),
                sample.images[image].frame_hw,
                self.config,
            )
            for mask, image in zip(sample.regions, images, strict=True)
        ]
        last = np.cumsum(tiles, dtype=np.int64) - 1
        stacked = np.stack(masks) if masks else np.zeros((0, side, side), np.float32)
        return stacked, last[list(images)]

    def _encode_targets(
        self, sample: TrainingSample, scale: float
    ) -> tuple[Tensor | None, Tensor | None, ObjectTargets | PoseTargets | ImageTargets | None]:
        targets = sample.targets
        expected = _TARGETS[sample.group]
        if type(targets) is not expected:
            raise InputError(
                f"a sample of group {sample.group.value} needs targets of kind "
                f"{expected.__name__}, got {type(targets).__name__}"
            )
        if isinstance(targets, TargetImage):
            return None, None, self._encode_image(sample, targets)
        if not isinstance(targets, LabelledObjects | LabelledPoses):
            return None, None, None
        if not sample.images:
            raise InputError("a sample with labelled objects needs an image")
        frame = sample.images[-1]
        config = _scale_config(self.config, scale, sample)
        is_pose = isinstance(targets, LabelledPoses)
        make = preprocess_pose if is_pose else preprocess_decoder
        pixels, pixel_mask, letterbox = make(frame, config)
        made: ObjectTargets | PoseTargets
        if isinstance(targets, LabelledPoses):
            made = make_pose_targets(targets, letterbox)
        else:
            made = make_object_targets(targets, letterbox)
        return torch.from_numpy(pixels), torch.from_numpy(pixel_mask), made

    def _encode_image(self, sample: TrainingSample, target: TargetImage) -> ImageTargets:
        form = self.images.get(sample.group)
        if form is None:
            raise InputError(
                f"the network has no part for {sample.group.value}; train one that has it, or "
                "remove the source from the mixture"
            )
        caption_ids = None if form.captions is None else form.captions([target.caption])
        if sample.group is Group.GENERATION:
            drawn = preprocess_drawn(Frame(target.rgb), min(form.side, DRAWN_SIDE))
            return ImageTargets(torch.from_numpy(drawn)[None], None, caption_ids)
        if len(sample.images) != 1:
            raise InputError(f"an edit needs one image, got {len(sample.images)}")
        source, edited = preprocess_edited(
            sample.images[0], Frame(target.rgb), min(form.side, EDITED_SIDE)
        )
        return ImageTargets(
            torch.from_numpy(edited)[None], torch.from_numpy(source)[None], caption_ids
        )


_TARGETS: Mapping[Group, type] = {
    Group.TEXT: type(None),
    Group.DETECTION: LabelledObjects,
    Group.POSE: LabelledPoses,
    Group.GENERATION: TargetImage,
    Group.EDITING: TargetImage,
}


def _scale_config(
    config: ProcessingConfig, scale: float, sample: TrainingSample
) -> ProcessingConfig:
    """Return the settings of the decoder's image: those of the answer's route, made smaller."""
    answers = " ".join(answer for _, answer in sample.rounds)
    if Route.SEGMENT.value in answers and Route.DETECT.value not in answers:
        config = config.for_segments()
    return replace(
        config,
        decoder_short=max(1, round(config.decoder_short * scale)),
        decoder_long=max(1, round(config.decoder_long * scale)),
    )


def make_object_targets(objects: LabelledObjects, letterbox: Letterbox) -> ObjectTargets:
    """Normalise labelled objects; masks at the size of the decoder's unpadded image."""
    height, width = letterbox.frame_hw
    corners = objects.boxes_xyxy / np.array([width, height, width, height], np.float32)
    boxes = np.concatenate(
        [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1
    )
    masks = None
    if objects.masks is not None:
        masks = _resize_masks(objects.masks, letterbox.model_hw)
    return ObjectTargets(
        torch.from_numpy(boxes.astype(np.float32)),
        torch.from_numpy(objects.class_index.astype(np.int64)),
        masks,
    )


def _resize_masks(masks: np.ndarray, size_hw: tuple[int, int]) -> Tensor:
    """Take the nearest pixel of (n, H, W) bool masks, by its centre."""
    rows, columns = (
        ((np.arange(new) + 0.5) * (old / new)).astype(np.int64)
        for new, old in zip(size_hw, masks.shape[1:], strict=True)
    )
    return torch.from_numpy(np.ascontiguousarray(masks[:, rows][:, :, columns], dtype=np.bool_))


def make_pose_targets(poses: LabelledPoses, letterbox: Letterbox) -> PoseTargets:
    """Normalise labelled poses."""
    height, width = letterbox.frame_hw
    points = poses.keypoints_xy / np.array([width, height], np.float32)
    return PoseTargets(
        make_object_targets(replace(poses.objects, masks=None), letterbox),
        torch.from_numpy(points.astype(np.float32)),
        torch.from_numpy(poses.is_visible.astype(np.bool_)),
        torch.from_numpy((poses.areas / (height * width)).astype(np.float32)),
        torch.from_numpy(poses.sigmas.astype(np.float32)),
    )
