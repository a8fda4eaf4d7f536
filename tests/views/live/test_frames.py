from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np

from vl2_ros.structures import Branch, Detections, Frame, Keypoints, Masks, Result, Route
from vl2_ros.views.live.frames import draw_results, encode_jpeg, pack_frame
from vl2_ros.views.shrink import MAX_SIDE


def make_result(box, *, mask=None, points=None) -> Result:
    keypoints = None
    if points is not None:
        array = np.array([points], np.float32)
        names = tuple(f"point {index}" for index in range(len(points)))
        keypoints = Keypoints(names, array, np.ones(array.shape[:2], np.float32))
    found = Detections(
        boxes_xyxy=np.array([box], np.float32),
        scores=np.array([0.9], np.float32),
        class_ids=np.array([0]),
        labels=("mug",),
        masks=None if mask is None else Masks.cut(mask[None]),
        keypoints=keypoints,
    )
    return Result("a", 1, "camera", "text", (Branch(Route.DETECT, ("mug",), found),))


def find_change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return (left, top, right, bottom) of the pixels that differ."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def test_several_results_are_drawn_and_the_frame_stays():
    frame = Frame(np.full((480, 640, 3), 90, np.uint8))
    one, other = make_result([40, 200, 100, 300]), make_result([500, 200, 560, 300])
    plain, both = draw_results(frame, []), draw_results(frame, [one, other])
    assert (frame.rgb == 90).all() and (plain == 90).all()
    changed = (both != plain).any(axis=2)
    assert changed[:, :320].any() and changed[:, 320:].any()


def test_an_image_unlike_those_of_training_has_a_border():
    frame = Frame(np.full((480, 640, 3), 90, np.uint8))
    inside, outside = (
        replace(make_result([40, 200, 100, 300]), in_domain=one) for one in (True, False)
    )
    assert (draw_results(frame, [inside])[0] == 90).all()
    assert (draw_results(frame, [inside, outside])[0] != 90).any()


def test_masks_of_another_size_are_skipped():
    frame = Frame(np.full((480, 640, 3), 90, np.uint8))
    result = make_result([40, 200, 100, 300], mask=np.ones((240, 320), np.bool_))
    assert (draw_results(frame, [result]) == 90).all()


def test_large_frames_are_drawn_smaller_at_the_same_places():
    height, width = 1080, 1920
    frame = Frame(np.full((height, width, 3), 90, np.uint8))
    mask = np.zeros((height, width), np.bool_)
    mask[600:900, 300:900] = True
    result = make_result([300, 600, 900, 900], mask=mask, points=[(310, 610), (890, 890)])
    drawn = draw_results(frame, [result])
    assert drawn.shape == (MAX_SIDE * height // width, MAX_SIDE, 3)
    # The label stands above.
    left, _, right, bottom = find_change(np.full_like(drawn, 90), drawn) * width / MAX_SIDE
    assert abs(np.array([left - 300, right - 900, bottom - 900])).max() < 20


def test_packed_frame_is_header_and_jpeg():
    rgb = np.zeros((32, 48, 3), np.uint8)
    rgb[..., 0] = 200
    packed = pack_frame(encode_jpeg(rgb), {"number": 3})
    length = int.from_bytes(packed[:4], "big")
    assert json.loads(packed[4 : 4 + length]) == {"number": 3}
    read = cv2.imdecode(np.frombuffer(packed[4 + length :], np.uint8), cv2.IMREAD_COLOR)
    assert read.shape == (32, 48, 3) and abs(int(read[..., 2].mean()) - 200) < 4
