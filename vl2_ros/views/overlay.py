"""Draw a result onto its frame, for people: tinted masks, contours, boxes, skeletons, labels.

Generated and edited images are shown beside the frame.

Lines follow the size of the image, texts have one of three sizes, and everything of one instance
has one colour. Where objects are tracked, colours follow the track, so that one object keeps its
colour. Masks are shown where they were asked for.
"""

from __future__ import annotations

import colorsys
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw

from vl2_ros.errors import InputError
from vl2_ros.processing.language.parse import Task, asks_for_mask, understand
from vl2_ros.structures import Frame, GeneratedImage, MaskCrop, Result, Route
from vl2_ros.views.caption import STRIP_COLOR, UNLIKE_COLOR, Color, draw_caption, load_font
from vl2_ros.views.skeleton_overlay import draw_skeleton

#: Bright on dark images, still visible on white ones, neighbours far apart in hue.
PALETTE: tuple[Color, ...] = (
    (64, 156, 255),
    (255, 99, 92),
    (46, 204, 146),
    (255, 184, 51),
    (181, 116, 255),
    (36, 206, 224),
    (255, 124, 190),
    (163, 214, 60),
    (255, 136, 62),
    (126, 140, 255),
)
#: Share of the colour circle between instances behind the palette; none comes near an earlier one.
HUE_STEP = 0.618034
#: Shorter side of an image in pixels, up to which its texts have a height.
TEXT_SIZES: tuple[tuple[float, float], ...] = ((600, 13), (1200, 22), (float("inf"), 44))
FILL_SHARE = 0.34
SHADOW_SHARE = 0.5
SHADOW_COLOR: Color = (12, 13, 16)
#: Factor by which shapes are drawn larger and then scaled down, which smooths their edges.
SUPERSAMPLING = 4
#: Images with a shorter side are enlarged, at most by this factor.
MIN_SIDE = 320
MAX_ZOOM = 4
#: Largest ratio of width to height of an image beside the frame; wider ones are squeezed.
MAX_BESIDE = 4


@dataclass(frozen=True, slots=True, eq=False)
class DrawnInstance:
    """One instance with its colour.

    Attributes:
        box_xyxy: (4,) float corners in camera pixels.
        mask: on the camera frame; None where the box is drawn.
        label: the phrase, with the track where there is one.
        score: in 0..1.
        color: RGB.
        points_xy: (K, 2) keypoints in camera pixels, or None.
        edges: pairs of keypoints to be joined.
    """

    box_xyxy: np.ndarray
    mask: MaskCrop | None
    label: str
    score: float
    color: Color
    points_xy: np.ndarray | None = None
    edges: tuple[tuple[int, int], ...] = ()


def draw_overlay(
    frame: Frame, result: Result, *, caption: bool = True, question: str = ""
) -> np.ndarray:
    """Draw the detections onto the frame and put generated images beside it.

    Small frames are enlarged, so that labels fit; generated and edited images get the height of
    the frame. A frame that is unlike those of training gets a border.

    Args:
        frame: the image that the result is about; not changed.
        result: the answer.
        caption: add a strip with the answer text below the image.
        question: the command; shown above the answer in the strip. Masks are drawn for [SEG], and
            for the other routes where it asks for them.

    Returns:
        (zoom * H + strip, zoom * W + beside, 3) uint8 RGB; zoom is a whole number, 1 when the
        shorter side has `MIN_SIDE` pixels; strip is 0 without a caption, beside without images.
    """
    zoom = min(MAX_ZOOM, -(-MIN_SIDE // min(frame.frame_hw)))
    instances = [_enlarge(instance, zoom) for instance in _collect_instances(result, question)]
    rgb = _enlarge_image(frame.rgb, zoom)
    unit = max(0.6, min(rgb.shape[:2]) / 480.0)
    text_px = next(size for side, size in TEXT_SIZES if min(rgb.shape[:2]) <= side)
    if result.in_domain is False:
        border = max(2, round(3 * unit))
        height, width = rgb.shape[:2]
        cv2.rectangle(rgb, (0, 0), (width - 1, height - 1), UNLIKE_COLOR, 2 * border - 1)
    # Weak ones first, so that the best stay on top.
    for instance in reversed(instances):
        if instance.mask is not None:
            _tint_mask(rgb, instance)
    shaded = rgb.copy()
    for instance in instances:
        _draw_outline(shaded, instance, SHADOW_COLOR, unit, extra=2.2 * unit)
    rgb = cv2.addWeighted(rgb, 1.0 - SHADOW_SHARE, shaded, SHADOW_SHARE, 0.0)
    for instance in reversed(instances):
        _draw_outline(rgb, instance, instance.color, unit, extra=0.0)
    _draw_chips(rgb, instances, text_px)
    rgb = _set_beside(rgb, result.images, unit)
    if not caption:
        return rgb
    strip = draw_caption(rgb.shape[1], question, result, text_px)
    return np.concatenate([rgb, np.asarray(strip)], axis=0)


def _collect_instances(result: Result, question: str) -> Iterator[DrawnInstance]:
    numbers = itertools.count()
    shows_masks = _asks_for_masks(question)
    for branch in result.branches:
        found = branch.detections
        masks = found.masks if shows_masks or branch.route is Route.SEGMENT else None
        for index, (box, score, _) in enumerate(found):
            color = choose_color(found.get_track_id(index), next(numbers))
            mask = None if masks is None else masks.crops[index]
            drawn = DrawnInstance(box, mask, found.get_title(index), score, color)
            if found.keypoints is not None:
                points = found.keypoints.points_xy[index]
                drawn = replace(drawn, points_xy=points, edges=found.keypoints.edges)
            yield drawn


def choose_color(track_id: int, number: int) -> Color:
    """Return the colour of a track; of the instance with a number where the track is 0."""
    index = track_id - 1 if track_id else number
    if index < len(PALETTE):
        return PALETTE[index]
    red, green, blue = colorsys.hsv_to_rgb(index * HUE_STEP % 1.0, 0.62, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _asks_for_masks(question: str) -> bool:
    """Return whether a command asks for masks: a released model answers it with [DET]."""
    try:
        return asks_for_mask(question) or understand(question).task is Task.OUTLINE
    except InputError:
        return False


def _set_beside(rgb: np.ndarray, images: Sequence[GeneratedImage], unit: float) -> np.ndarray:
    """Add generated and edited images at the right, in the frame's height, a strip between."""
    if not images:
        return rgb
    height, gap = rgb.shape[0], max(2, round(4 * unit))
    parts = [rgb]
    for image in images:
        width = max(1, round(image.rgb.shape[1] * height / image.rgb.shape[0]))
        # A generated image may have any shape; none may be wider than all the rest.
        width = min(width, MAX_BESIDE * height)
        parts.append(np.full((height, gap, 3), STRIP_COLOR, np.uint8))
        parts.append(cv2.resize(image.rgb, (width, height), interpolation=cv2.INTER_AREA))
    return np.concatenate(parts, axis=1)


def _enlarge(instance: DrawnInstance, zoom: int) -> DrawnInstance:
    mask = instance.mask
    if mask is not None and zoom > 1:
        pixels = mask.pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)
        mask = MaskCrop(mask.top * zoom, mask.left * zoom, pixels)
    points = None if instance.points_xy is None else instance.points_xy * zoom
    return replace(instance, box_xyxy=instance.box_xyxy * zoom, mask=mask, points_xy=points)


def _enlarge_image(rgb: np.ndarray, zoom: int) -> np.ndarray:
    if zoom == 1:
        return rgb.copy()
    size = (rgb.shape[1] * zoom, rgb.shape[0] * zoom)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC))


def _crop_to_frame(box_xyxy: np.ndarray, frame_hw: tuple[int, int]) -> tuple[int, ...]:
    """Return (left, top, right, bottom) in whole pixels, at least one pixel large."""
    height, width = frame_hw
    x1, y1, x2, y2 = np.nan_to_num(box_xyxy.astype(np.float64), posinf=1e6, neginf=-1e6)
    left = int(np.clip(np.floor(x1), 0, width - 1))
    top = int(np.clip(np.floor(y1), 0, height - 1))
    right = int(np.clip(np.ceil(x2), left + 1, width))
    bottom = int(np.clip(np.ceil(y2), top + 1, height))
    return left, top, right, bottom


def _tint_mask(rgb: np.ndarray, instance: DrawnInstance) -> None:
    assert instance.mask is not None
    view, inside = rgb[instance.mask.place], instance.mask.pixels
    if not inside.size:
        return
    # What becomes of each value of each channel.
    mixed = np.arange(256)[:, None] * (1.0 - FILL_SHARE) + np.array(instance.color) * FILL_SHARE
    tinted = cv2.LUT(view, mixed.astype(np.uint8)[None])
    view[:] = cv2.copyTo(tinted, inside.view(np.uint8), np.ascontiguousarray(view))


def _draw_outline(
    rgb: np.ndarray, instance: DrawnInstance, color: Color, unit: float, *, extra: float
) -> None:
    """Draw the contour of the mask, or the box when there is no mask, and the skeleton if any.

    Args:
        rgb: (H, W, 3) uint8, drawn on.
        instance: what to draw.
        color: of the line.
        unit: width of a thin line in pixels.
        extra: pixels by which every line is wider.
    """
    if instance.points_xy is not None:
        draw_skeleton(rgb, instance.points_xy, instance.edges, color, unit, extra=extra)
    if instance.mask is None or not instance.mask.pixels.size:
        _draw_box(rgb, instance.box_xyxy, color, unit, extra)
        return
    filled, offset = instance.mask.pixels.astype(np.uint8), (instance.mask.left, instance.mask.top)
    outlines, _ = cv2.findContours(filled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=offset)
    smooth = [_smooth_outline(outline) for outline in outlines]
    thickness = max(1, round(1.8 * unit + extra))
    cv2.polylines(rgb, smooth, True, color, thickness, cv2.LINE_AA, shift=4)


def _smooth_outline(outline: np.ndarray) -> np.ndarray:
    """Round the pixel stairs of a closed outline; returns points in 1/16 pixel."""
    points: np.ndarray = outline[:, 0].astype(np.float32)
    if len(points) >= 8:
        points = cv2.blur(np.pad(points, ((2, 2), (0, 0)), mode="wrap"), (1, 5))[2:-2]
        # Lines of one pixel each take most of the time, and show no more than those of three.
        points = points[::3]
    return np.asarray(np.round(points * 16).astype(np.int32)[:, None])


def _draw_box(
    rgb: np.ndarray, box_xyxy: np.ndarray, color: Color, unit: float, extra: float
) -> None:
    """Draw a thin box with strong corners."""
    left, top, right, bottom = _crop_to_frame(box_xyxy, rgb.shape[:2])
    right, bottom = right - 1, bottom - 1
    arm = int(min(max(6.0, 14 * unit), (right - left) / 3, (bottom - top) / 3))
    thin, thick = max(1, round(1.2 * unit + extra)), max(1, round(2.2 * unit + extra))
    cv2.rectangle(rgb, (left, top), (right, bottom), color, thin, cv2.LINE_AA)
    for x, y, right_way, down_way in (
        (left, top, 1, 1),
        (right, top, -1, 1),
        (left, bottom, 1, -1),
        (right, bottom, -1, -1),
    ):
        cv2.line(rgb, (x, y), (x + right_way * arm, y), color, thick, cv2.LINE_AA)
        cv2.line(rgb, (x, y), (x, y + down_way * arm), color, thick, cv2.LINE_AA)


def _text_color(background: Color) -> Color:
    """Return near-black or white, whichever stands out more."""
    red, green, blue = ((value / 255.0) ** 2.2 for value in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (16, 18, 22) if luminance > 0.25 else (255, 255, 255)


def _draw_chips(rgb: np.ndarray, instances: list[DrawnInstance], text_px: float) -> None:
    taken: list[tuple[int, ...]] = []
    for instance in instances:
        chip = _make_chip(f"{instance.label}  {instance.score:.2f}", instance.color, text_px)
        place = _find_place(instance.box_xyxy, chip.shape[:2], rgb.shape[:2], taken)
        taken.append(place)
        # A small image may end before its label does.
        view = rgb[place[1] : place[3], place[0] : place[2]]
        shown = chip[: view.shape[0], : view.shape[1]]
        share = shown[:, :, 3:] / np.float32(255)
        view[:] = np.rint(view + (shown[:, :, :3] - view.astype(np.float32)) * share)


@lru_cache(maxsize=256)
def _make_chip(text: str, color: Color, text_px: float) -> np.ndarray:
    """Return the label (h, w, 4) uint8 RGBA, not to be changed."""
    font = load_font(text_px)
    left, top, right, bottom = font.getbbox("Ág" + text)
    text_left, _, text_right, _ = font.getbbox(text)
    pad_x, pad_y = round(0.45 * text_px), round(0.22 * text_px)
    size = (int(text_right - text_left) + 2 * pad_x, int(bottom - top) + 2 * pad_y)
    large = (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING)
    shape = Image.new("L", large, 0)
    ImageDraw.Draw(shape).rounded_rectangle(
        (0, 0, large[0] - 1, large[1] - 1), radius=large[1] * 0.32, fill=235
    )
    chip = Image.new("RGBA", size, (*color, 0))
    chip.putalpha(shape.resize(size, Image.Resampling.LANCZOS))
    ImageDraw.Draw(chip).text(
        (pad_x - text_left, pad_y - top), text, font=font, fill=(*_text_color(color), 255)
    )
    return np.asarray(chip)


def _find_place(
    box_xyxy: np.ndarray,
    label_hw: tuple[int, ...],
    image_hw: tuple[int, ...],
    taken: list[tuple[int, ...]],
) -> tuple[int, ...]:
    """Return (left, top, right, bottom) of a label near its box, clear of earlier labels."""
    (height, width), (image_height, image_width) = label_hw, image_hw
    x1, y1, x2, y2 = _crop_to_frame(box_xyxy, (image_height, image_width))
    candidates = [
        (x1, y1 - height - 1),
        (x1, y1 + 1),
        (x1, y2 + 1),
        (x2 - width, y1 - height - 1),
        (x2 - width, y2 + 1),
        (x1, y2 - height - 1),
        (x2 + 1, y1),
        (x1 - width - 1, y1),
        (x1, (y1 + y2 - height) // 2),
    ]
    best, least = (0, 0, 0, 0), float("inf")
    for rank, (left, top) in enumerate(candidates):
        fitted_left = min(max(left, 0), max(0, image_width - width))
        fitted_top = min(max(top, 0), max(0, image_height - height))
        place = (fitted_left, fitted_top, fitted_left + width, fitted_top + height)
        moved = abs(fitted_left - left) + abs(fitted_top - top)
        cost = sum(_shared_area(place, other) for other in taken) + moved * height / 4 + rank
        if cost < least:
            best, least = place, cost
    return best


def _shared_area(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return float(max(0, width) * max(0, height))
