"""Draw training samples on a contact sheet: boxes, masks, keypoints, regions and texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vl2_ros.datasets.checking import list_labels, list_phrases
from vl2_ros.datasets.samples import LabelledObjects, LabelledPoses, TargetImage, TrainingSample
from vl2_ros.documents import write_whole
from vl2_ros.errors import InputError
from vl2_ros.processing.language.answer import parse_answer_text
from vl2_ros.processing.skeletons import find_edges
from vl2_ros.structures import (
    Branch,
    Detections,
    Frame,
    GeneratedImage,
    Keypoints,
    MaskCrop,
    Masks,
    Result,
    Route,
)
from vl2_ros.views.caption import draw_caption
from vl2_ros.views.overlay import draw_overlay

#: Width of a tile and gap between two, in pixels.
TILE_WIDTH = 480
_GAP = 8
_COLUMNS = 3
_BACKGROUND = 16
#: Height of texts below an image.
_TEXT_PX = 12
#: Letters of a question and an answer below an image.
_SHOWN_LETTERS = 300


def write_sheet(samples: Sequence[TrainingSample], path: Path) -> None:
    """Write a PNG with a tile for each sample.

    Raises:
        InputError: if there is no sample, or the file cannot be written.
    """
    if not samples:
        raise InputError(f"no sample can be drawn on {path}; the report says what is bad")
    sheet = _join_tiles([draw_sample(one) for one in samples])
    try:
        write_whole(path, lambda part: Image.fromarray(sheet).save(part, "PNG"))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error}; check the folder") from error


def draw_sample(sample: TrainingSample) -> np.ndarray:
    """Draw a sample: targets on its last image, further images and a target image beside it.

    Returns:
        (h, TILE_WIDTH, 3) uint8 RGB.
    """
    frame, *beside = _order_images(sample)
    branches = [one for one in (_draw_targets(sample), _draw_regions(sample, frame)) if one]
    images = [GeneratedImage(Route.GENERATE, one.rgb, 0, 0, "none") for one in beside]
    drawn = Result("", 0, "", "", tuple(branches), images=tuple(images))
    tile = _scale(draw_overlay(frame, drawn, caption=False))
    question, answer = (" / ".join(texts) for texts in zip(*sample.rounds, strict=True))
    said = Result("", 0, "", _shorten(answer), _name_routes(sample))
    strip = draw_caption(TILE_WIDTH, _shorten(question), said, _TEXT_PX)
    return np.concatenate([tile, np.asarray(strip)])


def _name_routes(sample: TrainingSample) -> tuple[Branch, ...]:
    """Return a branch for each route of the answers, for the line with counts below a tile."""
    groups = [one for _, answer in sample.rounds for one in parse_answer_text(answer).groups]
    count = len(list_labels(sample))
    nothing = np.zeros(count, np.float32)
    found = Detections(
        np.zeros((count, 4), np.float32), nothing, np.zeros(count, np.int64), ("",) * count
    )
    empty = found[np.zeros(count, np.bool_)]
    routes = dict.fromkeys(one.route for one in groups)
    return tuple(Branch(route, (), empty if n else found) for n, route in enumerate(routes))


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}..."


def _order_images(sample: TrainingSample) -> list[Frame]:
    """Return the image of the decoders, then the others: examples with their regions, targets."""
    frames = list(sample.images)
    examples = [Frame(_draw_example(sample, number)) for number in range(len(frames) - 1)]
    ordered = [*frames[-1:], *examples]
    if isinstance(sample.targets, TargetImage):
        ordered.append(Frame(sample.targets.rgb))
    # A text alone is drawn below an empty image.
    return ordered or [Frame(np.full((120, TILE_WIDTH, 3), _BACKGROUND, np.uint8))]


def _draw_example(sample: TrainingSample, image: int) -> np.ndarray:
    frame = sample.images[image]
    branch = _draw_regions(sample, frame, image)
    result = Result("", 0, "", "", () if branch is None else (branch,))
    return draw_overlay(frame, result, caption=False)


def _draw_targets(sample: TrainingSample) -> Branch | None:
    targets, keypoints = sample.targets, None
    names, points = list_phrases(sample)
    if isinstance(targets, LabelledPoses):
        shown = np.where(targets.is_visible[:, :, None], targets.keypoints_xy, np.nan)
        each = np.ones(targets.is_visible.shape, np.float32)
        keypoints = Keypoints(tuple(points), shown, each, find_edges(points))
        targets = targets.objects
    if not isinstance(targets, LabelledObjects):
        return None
    masks = None
    if targets.masks is not None:
        masks = Masks.cut(targets.masks) if len(targets.masks) else None
    labels = tuple(names[one] for one in targets.class_index.tolist())
    scores = np.ones(len(labels), np.float32)
    found = Detections(targets.boxes_xyxy, scores, targets.class_index, labels, masks, keypoints)
    # Masks are drawn for this route without a command that asks for them.
    return Branch(Route.SEGMENT, tuple(names), found)


def _draw_regions(sample: TrainingSample, frame: Frame, image: int | None = None) -> Branch | None:
    """Return the regions of an image, the last one by default, as masks with their numbers."""
    image = len(sample.images) - 1 if image is None else image
    placed = zip(sample.regions, sample.region_images, strict=True)
    numbered = [
        (f"region{number}", MaskCrop.cut(mask))
        for number, (mask, place) in enumerate(placed, 1)
        if place == image and mask.any()
    ]
    if not numbered:
        return None
    names = tuple(name for name, _ in numbered)
    crops = tuple(crop for _, crop in numbered)
    boxes = [
        (one.left, one.top, one.left + one.pixels.shape[1], one.top + one.pixels.shape[0])
        for one in crops
    ]
    found = Detections(
        np.array(boxes, np.float32),
        np.ones(len(names), np.float32),
        np.arange(len(names)),
        names,
        Masks(frame.frame_hw, crops),
    )
    return Branch(Route.SEGMENT, names, found)


def _scale(tile: np.ndarray) -> np.ndarray:
    height = max(1, round(tile.shape[0] * TILE_WIDTH / tile.shape[1]))
    image = Image.fromarray(tile).resize((TILE_WIDTH, height), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _join_tiles(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Put tiles of one width into columns, each into the one that is shortest so far."""
    columns: list[list[np.ndarray]] = [[] for _ in range(min(_COLUMNS, len(tiles)))]
    for tile in tiles:
        min(columns, key=_measure).append(tile)
    height = max(map(_measure, columns))
    sheet = np.full((height, len(columns) * (TILE_WIDTH + _GAP) - _GAP, 3), _BACKGROUND, np.uint8)
    for number, column in enumerate(columns):
        top, left = 0, number * (TILE_WIDTH + _GAP)
        for tile in column:
            sheet[top : top + tile.shape[0], left : left + TILE_WIDTH] = tile
            top += tile.shape[0] + _GAP
    return sheet


def _measure(column: Sequence[np.ndarray]) -> int:
    return sum(tile.shape[0] + _GAP for tile in column)
