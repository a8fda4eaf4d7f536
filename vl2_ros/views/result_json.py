"""Convert a `Result` to plain JSON values, masks as COCO run lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

from vl2_ros.structures import Branch, GeneratedImage, Keypoints, Result, RunLengths


def result_to_json(result: Result, *, with_masks: bool = False) -> dict[str, Any]:
    """Make the machine-readable form of an answer.

    Args:
        result: the answer.
        with_masks: add each mask as `{"size": [H, W], "counts": [...]}` (see `encode_rle`).

    Returns:
        `text`, `raw_text`, `in_domain`, `answer_score` and `answer_age` as the result has them,
        `routes`, `instances` (route, label, score, box_xyxy in camera pixels; track_id where it has
        a track; of poses also keypoints with name, xy and score, and skeleton_edges, pairs of
        indices into them), `counts` of them for each phrase, `classes` of the label map (class_id,
        label, pixels), `images` that were generated or edited (route, width, height, seed, steps,
        scheduler; no pixels), `stage_ms`, and what names the command and the frame.
    """
    return {
        "command_id": result.command_id,
        "stamp_ns": result.stamp_ns,
        "frame_id": result.frame_id,
        "text": result.text,
        "raw_text": result.raw_text,
        "in_domain": result.in_domain,
        "answer_score": result.answer_score,
        "answer_age": result.answer_age,
        "routes": [route.value for route in result.routes if route.value],
        "instances": [
            instance
            for branch in result.branches
            for instance in _list_instances(branch, with_masks=with_masks)
        ],
        "counts": {
            phrase: count
            for branch in result.branches
            for phrase, count in zip(branch.phrases, branch.counts, strict=True)
            if phrase  # phrases that a node found nothing for have no words on the wire
        },
        "classes": [
            row
            for branch in result.branches
            for row in _list_classes(branch, with_masks=with_masks)
        ],
        "images": [_describe_image(image) for image in result.images],
        "stage_ms": {stage: round(float(spent), 3) for stage, spent in result.stage_ms.items()},
    }


def _describe_image(image: GeneratedImage) -> dict[str, Any]:
    return {
        "route": image.route.value,
        "width": image.rgb.shape[1],
        "height": image.rgb.shape[0],
        "seed": image.seed,
        "steps": image.steps,
        "scheduler": image.scheduler,
    }


def _list_instances(branch: Branch, *, with_masks: bool) -> list[dict[str, Any]]:
    found = branch.detections
    rows: list[dict[str, Any]] = []
    for index, (box, score, label) in enumerate(found):
        row: dict[str, Any] = {
            "route": branch.route.value,
            "label": label,
            "score": round(score, 4),
            "box_xyxy": [round(float(value), 2) for value in box],
        }
        if track_id := found.get_track_id(index):
            row["track_id"] = track_id
        if with_masks and found.masks is not None:
            row["mask"] = write_runs(found.masks.crops[index].encode(found.masks.frame_hw))
        if found.keypoints is not None:
            row["keypoints"] = _list_keypoints(found.keypoints, index)
            row["skeleton_edges"] = [list(edge) for edge in found.keypoints.edges]
        rows.append(row)
    return rows


def _list_classes(branch: Branch, *, with_masks: bool) -> list[dict[str, Any]]:
    if branch.label_map is None:
        return []
    rows: list[dict[str, Any]] = []
    for class_id, phrase in enumerate(branch.phrases):
        mask = branch.label_map.class_ids == class_id
        row = {"class_id": class_id, "label": phrase, "pixels": int(mask.sum())}
        rows.append(row | ({"mask": encode_rle(mask)} if with_masks else {}))
    return rows


def _list_keypoints(keypoints: Keypoints, index: int) -> list[dict[str, Any]]:
    rows = zip(keypoints.names, keypoints.points_xy[index], keypoints.scores[index], strict=True)
    return [
        {
            "name": name,
            "xy": [round(float(value), 2) for value in point],
            "score": round(float(score), 4),
        }
        for name, point, score in rows
    ]


def encode_rle(mask: np.ndarray) -> dict[str, list[int]]:
    """Encode a mask as COCO's uncompressed run lengths; holes are kept.

    Args:
        mask: (H, W) bool.

    Returns:
        `size` [H, W] and `counts`: lengths of alternating runs, column after column, beginning
        with the run of False (which may be 0).

    Raises:
        ShapeError: if the mask is not (H, W) bool.
    """
    return write_runs(RunLengths.encode(mask))


def write_runs(runs: RunLengths) -> dict[str, list[int]]:
    """Write a mask as `encode_rle` does, from its run lengths."""
    return {"size": list(runs.mask_hw), "counts": runs.counts.tolist()}
