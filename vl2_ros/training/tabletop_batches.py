"""Cached tabletop frames to training batches: pictures, conversations and detection targets.

One sample is one frame with one perception conversation, or one with a text conversation added.
Class names reach the detector only through the conversation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy import ndimage

from vl2_ros.datasets.commands import (
    CommandExample,
    sample_class_list,
    sample_perception,
    sample_text,
)
from vl2_ros.datasets.tabletop import TabletopCache
from vl2_ros.model.detection_losses import DetectionTargets
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.image import preprocess_decoder, preprocess_vision
from vl2_ros.processing.prompt import encode_conversation
from vl2_ros.processing.tokenizer import Tokenizer
from vl2_ros.structures import Frame

#: An object cut by the crop stays a target while this share of its visible pixels is left.
MIN_VISIBLE_SHARE = 0.35
MIN_VISIBLE_PIXELS = 30
#: Smallest crop, as a share of the frame's side.
MIN_CROP = 0.72


@dataclass(frozen=True, slots=True)
class VisibleObject:
    """What the language side needs to know of a labelled object."""

    kind: str
    color: str


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One augmented frame.

    Attributes:
        frame: the picture.
        instance_map: (H, W) uint8 on the picture, 0 = none, i + 1 = `objects[i]`.
        objects: labelled objects that are still visible.
        boxes_xyxy: (n, 4) float32 extent of the visible pixels, in picture pixels.
    """

    frame: Frame
    instance_map: np.ndarray
    objects: tuple[VisibleObject, ...]
    boxes_xyxy: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class ConversationRows:
    """Token rows, padded on the right.

    Attributes:
        input_ids: (R, T) int64.
        labels: (R, T) int64, -100 where no loss applies.
        attention_mask: (R, T) bool, True = real.
        picture_index: which picture of the batch each row talks about.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor
    attention_mask: torch.Tensor
    picture_index: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """Everything of one optimisation step.

    Attributes:
        vision_pixels: (B, 3, S, S) float32.
        pixels: (B, 3, H, W) float32.
        pixel_mask: (B, H, W) bool, True = valid.
        rows: one perception conversation per picture first, text conversations after them.
        targets: detection targets per picture, classes in answer order.
    """

    vision_pixels: torch.Tensor
    pixels: torch.Tensor
    pixel_mask: torch.Tensor
    rows: ConversationRows
    targets: list[DetectionTargets]


def augment(
    rgb: np.ndarray, instance_map: np.ndarray, objects: Sequence, rng: np.random.Generator
) -> View:
    """Crop, flip and relight a cached frame.

    Args:
        rgb: (H, W, 3) uint8.
        instance_map: (H, W) uint8, i + 1 = `objects[i]`.
        objects: labelled objects with `kind` and `color`.
        rng: source of every random choice.
    """
    height, width = rgb.shape[:2]
    if rng.random() < 0.6:
        # Whole multiples of the aspect ratio, so that every crop fills the same canvas.
        step = math.gcd(height, width)
        unit = int(rng.integers(int(MIN_CROP * step), step + 1))
        h, w = height // step * unit, width // step * unit
        top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        cropped = instance_map[top : top + h, left : left + w]
        rgb = rgb[top : top + h, left : left + w]
    else:
        cropped = instance_map
    if rng.random() < 0.5:
        rgb, cropped = rgb[:, ::-1], cropped[:, ::-1]
    rgb = _relight(np.ascontiguousarray(rgb), rng)
    before = np.bincount(instance_map.ravel(), minlength=256)
    return _keep_visible(rgb, np.ascontiguousarray(cropped), objects, before)


def _relight(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change brightness and contrast by about 10 %, sometimes add sensor noise or a soft focus."""
    gain, offset = rng.uniform(0.88, 1.12), rng.uniform(-10.0, 10.0)
    curve = np.clip(np.arange(256) * gain + offset, 0, 255).astype(np.uint8)
    rgb = cv2.LUT(rgb, curve)
    if rng.random() < 0.25:
        grain = rng.integers(-4, 5, size=rgb.shape, dtype=np.int8)
        rgb = cv2.add(rgb, grain, dtype=cv2.CV_8U)
    if rng.random() < 0.25:
        rgb = cv2.GaussianBlur(rgb, (3, 3), 0)
    return rgb


def _keep_visible(
    rgb: np.ndarray, instance_map: np.ndarray, objects: Sequence, pixels_before: np.ndarray
) -> View:
    count = np.bincount(instance_map.ravel(), minlength=256)
    extents = ndimage.find_objects(instance_map, max_label=len(objects))
    renumber = np.zeros(256, dtype=np.uint8)
    kept, boxes = [], []
    for index, extent in enumerate(extents):
        needed = max(MIN_VISIBLE_PIXELS, MIN_VISIBLE_SHARE * pixels_before[index + 1])
        if extent is None or count[index + 1] < needed:
            continue
        kept.append(VisibleObject(objects[index].kind, objects[index].color))
        boxes.append((extent[1].start, extent[0].start, extent[1].stop, extent[0].stop))
        renumber[index + 1] = len(kept)
    return View(
        frame=Frame(rgb),
        instance_map=renumber[instance_map],
        objects=tuple(kept),
        boxes_xyxy=np.array(boxes, dtype=np.float32).reshape(-1, 4),
    )


def make_targets(view: View, example: CommandExample, mask_hw: tuple[int, int]) -> DetectionTargets:
    """Build the detection targets of one conversation; an object named twice gets two targets.

    Args:
        view: the augmented frame.
        example: the conversation; `targets[i]` are the objects of phrase i.
        mask_hw: size that the masks are sampled at.
    """
    pairs = [(obj, phrase) for phrase, objs in enumerate(example.targets) for obj in objs]
    index = np.array([obj for obj, _ in pairs], dtype=np.int64)
    height, width = view.instance_map.shape
    x1, y1, x2, y2 = (view.boxes_xyxy[index] / (width, height, width, height)).T
    boxes = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)
    small = cv2.resize(
        view.instance_map, mask_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT
    )
    return DetectionTargets(
        boxes_cxcywh_norm=torch.from_numpy(boxes.astype(np.float32)),
        class_index=torch.tensor([phrase for _, phrase in pairs], dtype=torch.int64),
        masks=torch.from_numpy(small[None] == (index + 1)[:, None, None]),
    )


def pad_rows(
    rows: Sequence[tuple[np.ndarray, np.ndarray]], picture_index: Sequence[int], pad_id: int
) -> ConversationRows:
    """Stack (ids, labels) rows, padded on the right."""
    longest = max(len(ids) for ids, _ in rows)
    input_ids = torch.full((len(rows), longest), pad_id, dtype=torch.int64)
    labels = torch.full((len(rows), longest), -100, dtype=torch.int64)
    mask = torch.zeros((len(rows), longest), dtype=torch.bool)
    for row, (ids, row_labels) in enumerate(rows):
        input_ids[row, : len(ids)] = torch.as_tensor(ids)
        labels[row, : len(ids)] = torch.as_tensor(row_labels)
        mask[row, : len(ids)] = True
    return ConversationRows(input_ids, labels, mask, tuple(picture_index))


class TabletopBatches:
    """Draws training batches from a frame cache.

    Args:
        cache: rendered frames with instance maps.
        tokenizer: tokenizer of the model in training.
        config: processing of the model in training.
        batch_size: pictures per batch.
        class_list_share: share of batches whose perception rows are long class lists; the
            others carry natural commands and one text conversation per picture.
        seed: seed of every random choice.
    """

    def __init__(
        self,
        cache: TabletopCache,
        tokenizer: Tokenizer,
        config: ProcessingConfig,
        *,
        batch_size: int,
        class_list_share: float = 0.6,
        seed: int | Sequence[int] = 0,
    ) -> None:
        """Keep the sources."""
        self._cache = cache
        self._tokenizer = tokenizer
        self._config = config
        self._batch_size = batch_size
        self._class_list_share = class_list_share
        self._rng = np.random.default_rng(seed)

    def next(self) -> TrainingBatch:
        """Draw one batch."""
        rng = self._rng
        views = []
        for index in rng.integers(len(self._cache), size=self._batch_size):
            record = self._cache[int(index)]
            views.append(augment(record.rgb, record.instance_map, record.objects, rng))
        with_lists = rng.random() < self._class_list_share
        sample = sample_class_list if with_lists else sample_perception
        examples = [sample(rng, view.objects) for view in views]
        rows = [self._encode(example) for example in examples]
        picture_index = list(range(len(views)))
        if not with_lists:
            rows += [self._encode(sample_text(rng, view.objects)) for view in views]
            picture_index *= 2
        decoder = [preprocess_decoder(view.frame, self._config) for view in views]
        height, width = decoder[0][1].shape
        return TrainingBatch(
            vision_pixels=torch.from_numpy(
                np.concatenate([preprocess_vision(view.frame, self._config) for view in views])
            ),
            pixels=torch.from_numpy(np.stack([pixels for pixels, _, _ in decoder])),
            pixel_mask=torch.from_numpy(np.stack([mask for _, mask, _ in decoder])),
            rows=pad_rows(rows, picture_index, self._tokenizer.tokens.pad),
            targets=[
                make_targets(view, example, (height // 4, width // 4))
                for view, example in zip(views, examples, strict=True)
            ],
        )

    def _encode(self, example: CommandExample) -> tuple[np.ndarray, np.ndarray]:
        return encode_conversation(
            [(example.question, example.answer)], self._tokenizer, self._config, image_count=1
        )
