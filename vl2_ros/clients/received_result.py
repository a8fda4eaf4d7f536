"""Read a VisionResult message into plain values for a client: status, text, boxes, images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vl2_ros.errors import InputError, TransportError
from vl2_ros.model.parts import IMAGE_ROUTES
from vl2_ros.node.cameras.camera_image import store_image
from vl2_ros.node.messages.result_messages import DomainValue
from vl2_ros.node.messages.rle import read_mask
from vl2_ros.node.request import Status
from vl2_ros.structures import (
    UNLABELLED,
    Branch,
    Detections,
    GeneratedImage,
    Keypoints,
    MaskCrop,
    Masks,
    Result,
    Route,
)

#: Pixels of all masks of one result, each of them a byte at most.
MAX_MASK_PIXELS = 1_000_000_000
#: Routes whose answers are images, not instances.


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedResult:
    """The node's answer, as a client receives it.

    Attributes:
        result: stamp and frame_id of the image, text, instances, generated and edited images, and
            stage times; no instances and images unless the status is OK.
        status: outcome of the command.
        message: what was expected, what came, what to do; empty when OK.
        text: the sentence that was asked.
        camera: the camera that was asked.
        is_final: False while a watch continues.
        sequence: counts the results of a watch.
        model: name of the checkpoint.
        model_identity: hash of its weights.
        engine: backend and device.
    """

    result: Result
    status: Status
    message: str
    text: str
    camera: str
    is_final: bool
    sequence: int
    model: str
    model_identity: str
    engine: str

    @property
    def command_id(self) -> str:
        """Return the id of the command that this answers."""
        return self.result.command_id


def read_result(message: Any, *, max_mask_pixels: int = MAX_MASK_PIXELS) -> ReceivedResult:
    """Read a vl2_ros/VisionResult.

    Args:
        message: the VisionResult.
        max_mask_pixels: what all masks may have together; each pixel takes a byte at most.

    Raises:
        TransportError: if it has a status, route, number, domain, mask, keypoint or image that no
            node of this version sends, or masks over the limit.
    """
    stamp = message.header.stamp
    try:
        status = Status(message.status)
        _check_masks(message.instances, max_mask_pixels)
        branches = _read_branches(message.routes, message.instances)
        images = tuple(_read_generated(one) for one in message.images)
        result = Result(
            command_id=message.command_id,
            stamp_ns=int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec),
            frame_id=message.header.frame_id,
            text=message.text,
            branches=branches,
            stage_ms={one.stage: float(one.duration_ms) for one in message.stage_times},
            images=images,
            raw_text=message.raw_text,
            in_domain=DomainValue(message.in_domain).read(),
            answer_score=float(message.answer_score) or None,
            answer_age=int(message.answer_age),
        )
    except (ValueError, KeyError, TransportError) as error:
        raise TransportError(
            f"the result of command {message.command_id!r} cannot be read: {error}; node and "
            "receiver must be of the same version of vl2_ros"
        ) from error
    return ReceivedResult(
        result=result,
        status=status,
        message=message.message,
        text=message.command_text,
        camera=message.camera,
        is_final=bool(message.is_final),
        sequence=int(message.sequence),
        model=message.model,
        model_identity=message.model_identity,
        engine=message.engine,
    )


def _read_branches(routes: Sequence[str], instances: Sequence[Any]) -> tuple[Branch, ...]:
    """Gather the instances by route, in the order in which the answer opened the routes."""
    opened = [Route[name.upper()] for name in routes]
    without = (Route.ANSWER, *IMAGE_ROUTES)
    gathered: dict[Route, list[Any]] = {route: [] for route in opened if route not in without}
    for instance in instances:
        gathered[Route[instance.route.upper()]].append(instance)
    return tuple(_read_branch(route, found) for route, found in gathered.items())


def _read_generated(message: Any) -> GeneratedImage:
    route = Route[message.route.upper()]
    if route not in IMAGE_ROUTES:
        raise InputError(f"an image of the route {message.route!r}; expected generate or edit")
    return GeneratedImage(
        route=route,
        rgb=store_image(message.image).decode().rgb,
        seed=int(message.seed),
        steps=int(message.steps),
        scheduler=message.scheduler,
    )


def _read_branch(route: Route, instances: Sequence[Any]) -> Branch:
    class_ids = np.array([_read_class_id(one) for one in instances], np.int64)
    # A phrase that found nothing is not in the message; its index stays, its words are unknown.
    phrases = [""] * (int(class_ids.max(initial=-1)) + 1)
    for class_id, one in zip(class_ids, instances, strict=True):
        phrases[class_id] = one.label
    boxes = [_read_box(one.box) for one in instances]
    detections = Detections(
        boxes_xyxy=_read_numbers("boxes", boxes).reshape(-1, 4),
        scores=_read_numbers("scores", [one.score for one in instances]),
        class_ids=class_ids,
        labels=tuple(one.label for one in instances),
        masks=_read_masks([one.mask for one in instances]),
        keypoints=_read_keypoints(instances),
        track_ids=_read_tracks([one.track_id for one in instances]),
    )
    return Branch(route, tuple(phrases), detections)


def _read_class_id(instance: Any) -> int:
    # The list of phrases is as long as the largest of them says.
    class_id = int(instance.class_id)
    if not 0 <= class_id < UNLABELLED:
        raise InputError(f"class_id must lie in 0..{UNLABELLED - 1}, got {class_id}")
    return class_id


def _read_tracks(track_ids: Sequence[int]) -> np.ndarray | None:
    """Return (N,) int64; None when no instance has a track."""
    return np.array(track_ids, np.int64) if any(track_ids) else None


def _read_numbers(name: str, values: Sequence[Any]) -> np.ndarray:
    """Return float32, in the shape of the values."""
    numbers = np.array(values, np.float64)
    if not (np.abs(numbers) <= np.finfo(np.float32).max).all():
        raise InputError(f"{name} must be finite numbers, got {numbers.tolist()}")
    return numbers.astype(np.float32)


def _read_box(box: Any) -> tuple[float, float, float, float]:
    x, y = box.center.position.x, box.center.position.y
    half_x, half_y = box.size_x / 2, box.size_y / 2
    return x - half_x, y - half_y, x + half_x, y + half_y


def _read_keypoints(instances: Sequence[Any]) -> Keypoints | None:
    """Return the keypoints of all instances, in the same order; None when no instance has any."""
    if not any(len(one.keypoints) for one in instances):
        return None
    names = {tuple(point.name for point in one.keypoints) for one in instances}
    edges = {tuple(int(end) for end in one.skeleton_edges) for one in instances}
    if len(names) > 1 or len(edges) > 1 or len(next(iter(edges))) % 2:
        raise InputError(
            f"the poses of one answer have keypoints {sorted(names)} with edges {sorted(edges)}; "
            "expected the same pairs for all"
        )
    (known,), (ends,) = names, edges
    rows = [[(point.x, point.y, point.score) for point in one.keypoints] for one in instances]
    values = _read_numbers("keypoints", rows).reshape(len(instances), len(known), 3)
    return Keypoints(
        names=known,
        points_xy=values[..., :2],
        scores=values[..., 2],
        edges=tuple(zip(ends[::2], ends[1::2], strict=True)),
    )


def _check_masks(instances: Sequence[Any], max_mask_pixels: int) -> None:
    masks = [one.mask for one in instances if len(one.mask.counts)]
    pixels = sum(int(one.height) * int(one.width) for one in masks)
    if pixels > max_mask_pixels:
        raise InputError(
            f"its {len(masks)} masks have {pixels} pixels together, the limit is "
            f"{max_mask_pixels}; ask for fewer instances or send smaller images"
        )


def _read_masks(masks: Sequence[Any]) -> Masks | None:
    """Return the masks, or None when no instance has a mask."""
    if not any(len(mask.counts) for mask in masks):
        return None
    runs = [read_mask(mask) for mask in masks]
    sizes = {one.mask_hw for one in runs}
    if len(sizes) != 1:
        raise InputError(f"the masks of one answer have different sizes: {sorted(sizes)}")
    (frame_hw,) = sizes
    return Masks(frame_hw, tuple(MaskCrop.cut(one.decode()) for one in runs))
