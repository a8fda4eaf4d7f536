"""Make training batches from simulated frames: images, conversations, detection targets.

One sample is one frame with a perception conversation for the decoder, often a long class list,
and short conversations that train the language model alone. Class names reach the detector only
through the conversation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from scipy import ndimage

from vl2_ros.datasets.commands import (
    CommandExample,
    sample_class_list,
    sample_perception,
    sample_words,
)
from vl2_ros.datasets.scene_questions.relations import PlacedThing
from vl2_ros.datasets.sources.household import HOUSEHOLD_SAMPLERS, Household
from vl2_ros.datasets.tabletop import TabletopCache
from vl2_ros.model.decoders.targets import ObjectTargets
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import preprocess_decoder, preprocess_vision
from vl2_ros.processing.language.prompt import encode_conversation
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.household.kinds import HOUSEHOLD_KINDS
from vl2_ros.sim.kinds import KINDS
from vl2_ros.structures import Frame
from vl2_ros.training.embedded.packs import Packs, pack_rows

#: Draws a command about what is seen.
Sampler = Callable[[np.random.Generator, Sequence[PlacedThing]], CommandExample]
#: Words of the labels of tokens.
LABELLED_KINDS: tuple[str, ...] = tuple(dict.fromkeys((*KINDS, *HOUSEHOLD_KINDS)))
#: What a command is drawn by, for each way of asking.
TABLE_SAMPLERS: Mapping[str, Sampler] = {
    "perception": sample_perception,
    "class_lists": sample_class_list,
    "text": sample_words,
}
#: An object cut by the crop stays a target while this share of its visible pixels is left.
MIN_VISIBLE_SHARE = 0.35
MIN_VISIBLE_PIXELS = 30
#: Smallest crop, as a share of the frame's side.
MIN_CROP = 0.72
#: Share of batches whose short rows are answered in words; the others call a decoder.
TEXT_SHARE = 0.6
#: Conversations without an image per image of the batch, and how many of them are questions.
BLIND_ROWS = 3
BLIND_TEXT_SHARE = 0.25
#: Pixels of the decoder's image per finest token.
DECODER_STRIDE = 16


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One augmented frame.

    Attributes:
        frame: the image.
        instance_map: (H, W) uint8 on the image, 0 = none, i + 1 = `objects[i]`.
        objects: labelled objects that are still visible, at the middles of their boxes.
        boxes_xyxy: (n, 4) float32 extent of the visible pixels, in image pixels.
        samplers: what draws commands about it.
    """

    frame: Frame
    instance_map: np.ndarray
    objects: tuple[PlacedThing, ...]
    boxes_xyxy: np.ndarray
    samplers: Mapping[str, Sampler] = field(default_factory=lambda: TABLE_SAMPLERS)


@dataclass(frozen=True, slots=True, eq=False)
class TokenLabels:
    """Labels of what each of M positions shows or names.

    Attributes:
        kinds: (B, M) int64, 0 = none of them, i + 1 = `LABELLED_KINDS[i]`.
        colors: (B, M) int64, 0 = none of them, i + 1 = `COLORS[i]`, -1 = not known.
    """

    kinds: torch.Tensor
    colors: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ConversationRows:
    """Token rows, padded on the right.

    Attributes:
        input_ids: (R, T) int64.
        labels: (R, T) int64, -100 where no loss applies.
        attention_mask: (R, T) bool, True = real.
        named: kind and colour that each slot group stands for, -1 in padding; (R, N) each.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor
    attention_mask: torch.Tensor
    named: TokenLabels


@dataclass(frozen=True, slots=True, eq=False)
class BlindPacks:
    """Conversations without an image.

    Attributes:
        packs: several in each row.
        named: kind and colour that each slot group of a row stands for, -1 in padding.
    """

    packs: Packs
    named: TokenLabels


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """Everything of one optimisation step.

    Attributes:
        vision_pixels: (B, 3, S, S) float32.
        pixels: (B, 3, H, W) float32.
        pixel_mask: (B, H, W) bool, True = valid.
        rows: one perception conversation per image, in image order.
        short_rows: one short conversation per image, for the language loss only; None, as
            `blind_packs`, when the step does not train the LLM.
        blind_packs: short conversations without an image, for the language loss only: cheap
            practice in choosing routes and copying names.
        image_token_labels: what the centre of each image token of the LLM shows.
        decoder_token_labels: the same for the finest tokens of the detection decoder.
        targets: detection targets per image, classes in answer order of `rows`.
    """

    vision_pixels: torch.Tensor
    pixels: torch.Tensor
    pixel_mask: torch.Tensor
    rows: ConversationRows
    short_rows: ConversationRows | None
    blind_packs: BlindPacks | None
    image_token_labels: TokenLabels
    decoder_token_labels: TokenLabels
    targets: list[ObjectTargets]


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
    rgb = relight(np.ascontiguousarray(rgb), rng)
    before = np.bincount(instance_map.ravel(), minlength=256)
    return _keep_visible(rgb, np.ascontiguousarray(cropped), objects, before)


def relight(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
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
    height, width = instance_map.shape
    count = np.bincount(instance_map.ravel(), minlength=256)
    extents = ndimage.find_objects(instance_map, max_label=len(objects))
    renumber = np.zeros(256, dtype=np.uint8)
    kept, boxes = [], []
    for index, extent in enumerate(extents):
        needed = max(MIN_VISIBLE_PIXELS, MIN_VISIBLE_SHARE * pixels_before[index + 1])
        if extent is None or count[index + 1] < needed:
            continue
        rows, columns = extent
        boxes.append((columns.start, rows.start, columns.stop, rows.stop))
        x = (columns.start + columns.stop) / (2 * width)
        y = (rows.start + rows.stop) / (2 * height)
        kept.append(PlacedThing(objects[index].kind, objects[index].color, x, y))
        renumber[index + 1] = len(kept)
    return View(
        frame=Frame(rgb),
        instance_map=renumber[instance_map],
        objects=tuple(kept),
        boxes_xyxy=np.array(boxes, dtype=np.float32).reshape(-1, 4),
    )


def make_targets(view: View, example: CommandExample, mask_hw: tuple[int, int]) -> ObjectTargets:
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
    small = cv2.resize(view.instance_map, mask_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return ObjectTargets(
        boxes_cxcywh_norm=torch.from_numpy(boxes.astype(np.float32)),
        class_index=torch.tensor([phrase for _, phrase in pairs], dtype=torch.int64),
        masks=torch.from_numpy(small[None] == (index + 1)[:, None, None]),
    )


def label_tokens(views: Sequence[View], grid_hw: tuple[int, int]) -> TokenLabels:
    """Look up what each cell of a grid over the whole image shows at its centre."""
    kinds, colors = [], []
    for view in views:
        seen = cv2.resize(
            view.instance_map, grid_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT
        ).ravel()
        kinds.append(np.array([0, *(1 + LABELLED_KINDS.index(o.kind) for o in view.objects)])[seen])
        known = (1 + COLORS.index(o.color) if o.color else -1 for o in view.objects)
        colors.append(np.array([0, *known])[seen])
    return TokenLabels(torch.from_numpy(np.stack(kinds)), torch.from_numpy(np.stack(colors)))


def label_phrases(phrases: Sequence[Sequence[str]]) -> TokenLabels:
    """Look up the kind and the colour that each phrase of each row names; -1 fills the rows."""
    longest = max((len(row) for row in phrases), default=0)
    kinds = torch.full((len(phrases), longest), -1, dtype=torch.int64)
    colors = kinds.clone()
    for row, names in enumerate(phrases):
        for column, name in enumerate(names):
            first, _, rest = name.partition(" ")
            color, noun = (first, rest) if first in COLORS and rest else ("", name)
            kinds[row, column] = 1 + LABELLED_KINDS.index(noun) if noun in LABELLED_KINDS else 0
            colors[row, column] = 1 + COLORS.index(color) if color else 0
    return TokenLabels(kinds, colors)


def pad_rows(
    rows: Sequence[tuple[np.ndarray, np.ndarray]], phrases: Sequence[Sequence[str]], pad_id: int
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
    return ConversationRows(input_ids, labels, mask, label_phrases(phrases))


class TabletopBatches:
    """Draws training batches from a frame cache.

    Args:
        cache: rendered frames with instance maps.
        tokenizer: tokenizer of the model in training.
        config: processing of the model in training.
        batch_size: images per batch.
        household: further scenes; None draws from the cache alone.
        household_share: of the images, with a household.
        class_list_share: share of batches whose perception rows are long class lists; those of
            the others are natural commands.
        seed: seed of every random choice.
    """

    def __init__(
        self,
        cache: TabletopCache,
        tokenizer: Tokenizer,
        config: ProcessingConfig,
        *,
        batch_size: int,
        household: Household | None = None,
        household_share: float = 0.5,
        class_list_share: float = 0.75,
        seed: int | Sequence[int] = 0,
    ) -> None:
        """Keep the sources."""
        self._cache = cache
        self._tokenizer = tokenizer
        self._config = config
        self._batch_size = batch_size
        self._household, self._household_share = household, household_share
        self._class_list_share = class_list_share
        self._rng = np.random.default_rng(seed)

    def next(self, *, with_language: bool = True) -> TrainingBatch:
        """Draw one batch.

        Args:
            with_language: also draw the conversations that train the language model alone.
        """
        rng = self._rng
        views = self._draw_views()
        # Rows of one batch are of one kind, so that little of it is padding.
        task = "class_lists" if rng.random() < self._class_list_share else "perception"
        examples = [view.samplers[task](rng, view.objects) for view in views]
        decoder = [preprocess_decoder(view.frame, self._config) for view in views]
        height, width = decoder[0][1].shape
        vision_grid = math.isqrt(self._config.vision_tokens)
        return TrainingBatch(
            vision_pixels=torch.from_numpy(
                np.concatenate([preprocess_vision(view.frame, self._config) for view in views])
            ),
            pixels=torch.from_numpy(np.stack([pixels for pixels, _, _ in decoder])),
            pixel_mask=torch.from_numpy(np.stack([mask for _, mask, _ in decoder])),
            rows=self._encode(examples),
            short_rows=self._draw_short_rows(views) if with_language else None,
            blind_packs=self._draw_blind_packs(views) if with_language else None,
            image_token_labels=label_tokens(views, (vision_grid, vision_grid)),
            decoder_token_labels=label_tokens(
                views, (height // DECODER_STRIDE, width // DECODER_STRIDE)
            ),
            targets=[
                make_targets(view, example, (height // 4, width // 4))
                for view, example in zip(views, examples, strict=True)
            ],
        )

    def _draw_views(self) -> list[View]:
        rng, views = self._rng, []
        for index in rng.integers(len(self._cache), size=self._batch_size):
            if self._household is not None and rng.random() < self._household_share:
                scene = self._household.read_scene(int(rng.integers(len(self._household))))
                view = augment(scene.rgb, scene.instance_map, scene.objects, rng)
                views.append(replace(view, samplers=HOUSEHOLD_SAMPLERS))
            else:
                record = self._cache[int(index)]
                views.append(augment(record.rgb, record.instance_map, record.objects, rng))
        return views

    def _draw_short_rows(self, views: Sequence[View]) -> ConversationRows:
        task = "text" if self._rng.random() < TEXT_SHARE else "perception"
        return self._encode([view.samplers[task](self._rng, view.objects) for view in views])

    def _draw_blind_packs(self, views: Sequence[View]) -> BlindPacks:
        # Without an image, "the cup" is that of the table, which answers call a mug.
        seen = [one for one in views if one.samplers is TABLE_SAMPLERS] or views
        examples = []
        for index in range(BLIND_ROWS * len(views)):
            view = seen[index % len(seen)]
            task = "text" if self._rng.random() < BLIND_TEXT_SHARE else "perception"
            examples.append(view.samplers[task](self._rng, view.objects))
        packs = [examples[index :: len(views)] for index in range(len(views))]
        tokens = self._tokenizer.tokens
        rows = [self._encode_rows(pack, image_count=0) for pack in packs]
        return BlindPacks(
            pack_rows(rows, image_patch=tokens.image_patch, pad=tokens.pad),
            label_phrases([[name for one in pack for name in one.phrases] for pack in packs]),
        )

    def _encode(self, examples: Sequence[CommandExample]) -> ConversationRows:
        rows = self._encode_rows(examples, image_count=1)
        return pad_rows(rows, [e.phrases for e in examples], self._tokenizer.tokens.pad)

    def _encode_rows(
        self, examples: Sequence[CommandExample], image_count: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            encode_conversation(
                [(e.question, e.answer)], self._tokenizer, self._config, image_count=image_count
            )
            for e in examples
        ]
