"""Turn outputs of the pose decoder into named keypoints, and parse what to ask it for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vl2_ros.errors import EngineError, RouteError, ShapeError
from vl2_ros.model.pose.config import OKS_SIGMAS
from vl2_ros.processing.results.detection import Selection, group_detections, select_instances
from vl2_ros.processing.skeletons import find_edges, normalise_name
from vl2_ros.structures import Detections, Keypoints, Route

#: Of two poses of one phrase that are more alike than this, the pipeline keeps the better one.
NMS_OKS = 0.9
#: COCO's names in the order of `OKS_SIGMAS`; every other keypoint may be off by a fortieth.
_COCO_NAMES = (
    *("nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder"),
    *("left elbow", "right elbow", "left wrist", "right wrist", "left hip", "right hip"),
    *("left knee", "right knee", "left ankle", "right ankle"),
)
_SIGMAS = dict(zip(_COCO_NAMES, OKS_SIGMAS, strict=False))


@dataclass(frozen=True, slots=True)
class PoseRequest:
    """The routing tokens of an answer that ask for poses.

    Attributes:
        objects: indices of the [DET] tokens that name the objects.
        keypoints: indices of the [POSE] tokens, one per keypoint.
    """

    objects: tuple[int, ...]
    keypoints: tuple[int, ...]


def find_pose_request(routes: Sequence[Route]) -> PoseRequest | None:
    """Find the tokens of an answer that ask for poses; None when there are none.

    Objects come first: "I found: cat[DET]. The keypoints are here: nose[POSE], left ear[POSE]."

    Args:
        routes: route of each routing token, in answer order.

    Raises:
        RouteError: if keypoints are requested and no object.
    """
    keypoints = tuple(index for index, route in enumerate(routes) if route is Route.POSE)
    if not keypoints:
        return None
    ahead = enumerate(routes[: keypoints[0]])
    objects = tuple(index for index, route in ahead if route is Route.DETECT)
    if not objects:
        raise RouteError(
            f"the answer names {len(keypoints)} keypoints by [POSE] but no object by [DET] before "
            'them; name the object, such as "the pose of the person"'
        )
    return PoseRequest(objects, keypoints)


def make_poses(
    logits: np.ndarray,
    boxes: np.ndarray,
    points: np.ndarray,
    *,
    objects: Sequence[str],
    keypoints: Sequence[str],
    frame_hw: tuple[int, int],
    top_k: int = 100,
    score_threshold: float = 0.0,
    nms_oks: float | None = None,
) -> Detections:
    """Choose the best (object, class) pairs and bring them to camera pixels.

    Args:
        logits: (G, N) class logits, N at least the number of objects.
        boxes: (G, 4) cxcywh as shares of the unpadded image.
        points: (G, M, 2) x and y as shares of it, M at least the number of keypoints.
        objects: name of each class.
        keypoints: name of each keypoint.
        frame_hw: height and width of the camera frame.
        top_k: most pairs.
        score_threshold: only scores above it are kept.
        nms_oks: see `suppress_poses`; None keeps all, as evaluation requires.

    Returns:
        Boxes clipped to the frame, best score first, with keypoints.

    Raises:
        ShapeError: if the arrays do not fit together.
        EngineError: if the decoder gave NaN.
    """
    if points.ndim != 3 or len(points) != len(logits) or points.shape[1] < len(keypoints):
        raise ShapeError(
            f"expected points ({len(logits)}, >= {len(keypoints)}, 2), got {points.shape}"
        )
    selection = select_instances(
        logits,
        boxes,
        num_classes=len(objects),
        frame_hw=frame_hw,
        top_k=top_k,
        score_threshold=score_threshold,
    )
    found = place_keypoints(points, selection, len(keypoints), frame_hw)
    if nms_oks is not None:
        kept = suppress_poses(selection, found, keypoints, nms_oks)
        selection, found = selection.take(kept), found[kept]
    named = Keypoints(
        names=tuple(keypoints),
        points_xy=found,
        scores=np.repeat(selection.scores[:, None], len(keypoints), axis=1),
        edges=find_edges(keypoints),
    )
    return replace(group_detections(selection, objects, frame_hw), keypoints=named)


def place_keypoints(
    points: np.ndarray, selection: Selection, count: int, frame_hw: tuple[int, int]
) -> np.ndarray:
    """Return the first `count` keypoints of each chosen object, (k, count, 2) in camera pixels.

    Args:
        points: (G, M, 2) x and y as shares of the unpadded image.
        selection: what was chosen.
        count: requested keypoints.
        frame_hw: height and width of the camera frame.

    Raises:
        EngineError: if the decoder gave NaN.
    """
    height, width = frame_hw
    chosen = points[selection.query_index, :count].astype(np.float32)
    if not np.isfinite(chosen).all():
        raise EngineError(
            "the pose decoder gave keypoints that are not finite; check the weights and the "
            "precision"
        )
    return np.asarray(chosen * np.array([width, height], dtype=np.float32))


def suppress_poses(
    selection: Selection, points_xy: np.ndarray, keypoints: Sequence[str], nms_oks: float
) -> np.ndarray:
    """Find poses that no better one of the same class repeats.

    Args:
        selection: the chosen pairs, best score first.
        points_xy: (k, K, 2) their keypoints in pixels.
        keypoints: K names.
        nms_oks: a pose is dropped when its similarity to a kept one is larger.

    Returns:
        (j,) int64 indices of those that are kept, best score first.
    """
    alike = pose_similarity(points_xy, selection.boxes_xyxy, keypoints)
    same = selection.class_ids[:, None] == selection.class_ids[None, :]
    repeats = same & (alike > nms_oks)
    kept: list[int] = []
    for index in range(len(selection)):
        if not repeats[kept, index].any():
            kept.append(index)
    return np.array(kept, dtype=np.int64)


def pose_similarity(
    points_xy: np.ndarray, boxes_xyxy: np.ndarray, keypoints: Sequence[str]
) -> np.ndarray:
    """Return the (k, k) object keypoint similarity of poses, by the size of each row's box.

    Args:
        points_xy: (k, K, 2) in pixels.
        boxes_xyxy: (k, 4) in the same pixels.
        keypoints: K names; COCO's have their own tolerance.
    """
    sigmas = np.array([_SIGMAS.get(normalise_name(name), OKS_SIGMAS[-1]) for name in keypoints])
    sides = np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 1e-3, None).astype(np.float64)
    reach = 2 * sides.prod(axis=1)[:, None, None] * (2 * sigmas) ** 2  # (k, 1, K)
    moved = points_xy[:, None].astype(np.float64) - points_xy[None, :]
    return np.asarray(np.exp(-(moved**2).sum(axis=-1) / reach).mean(axis=-1))
