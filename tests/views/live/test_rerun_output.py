from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.errors import InputError
from vl2_ros.structures import Branch, Detections, Frame, Keypoints, Masks, Result, Route
from vl2_ros.views.live.rerun_output import RerunOutput

rerun = pytest.importorskip("rerun", reason="rerun-sdk is not installed")

STAMP_NS = 5_000_000_007


def make_result() -> Result:
    masks = np.zeros((1, 48, 64), np.bool_)
    masks[0, 2:12, 1:11] = True
    points = np.array([[[3, 4], [5, 6]]], np.float32)
    found = Detections(
        boxes_xyxy=np.array([[1, 2, 11, 12]], np.float32),
        scores=np.array([0.9], np.float32),
        class_ids=np.array([0]),
        labels=("red mug",),
        masks=Masks.cut(masks),
        keypoints=Keypoints(("a", "b"), points, np.ones((1, 2), np.float32), ((0, 1),)),
        track_ids=np.array([7]),
    )
    return Result("a", STAMP_NS, "camera", "I see it.", (Branch(Route.POSE, ("red mug",), found),))


def test_a_recording_has_images_boxes_masks_keypoints_and_answers(tmp_path):
    path = tmp_path / "out.rrd"
    output = RerunOutput(path)
    assert output.wants_frame
    result = make_result()
    for index in range(3):
        frame = Frame(np.full((48, 64, 3), 90, np.uint8), STAMP_NS + index * 1000, "camera")
        output.show(frame, [result] if index else [], None)
    output.close()
    read = read_recording(path)
    assert read["/camera/image/boxes"]["Boxes2D:labels"] == [[], *[["red mug 0.90 #7"]] * 2]
    centers = read["/camera/image/boxes"]["Boxes2D:centers"]
    assert centers == [[], *[[[6.0, 7.0]]] * 2]
    assert len(read["/camera/image"]["EncodedImage:blob"]) == 3
    stamps = [int(np.datetime64(one, "ns")) for one in read["/camera/image"]["camera_time"]]
    assert stamps == [STAMP_NS + index * 1000 for index in range(3)]
    masks = [np.array(one[0]) for one in read["/camera/image/masks"]["SegmentationImage:buffer"]]
    assert [int((one > 0).sum()) for one in masks] == [0, 100, 100]
    points = read["/camera/image/keypoints"]["Points2D:positions"]
    assert points == [[], *[[[3.0, 4.0], [5.0, 6.0]]] * 2]
    lines = read["/camera/image/skeletons"]["LineStrips2D:strips"]
    assert lines == [[], *[[[[3.0, 4.0], [5.0, 6.0]]]] * 2]
    assert read["/answers"]["TextLog:text"] == [["I see it."]]


def read_recording(path) -> dict[str, dict[str, list]]:
    """Return the columns of each entity, in the order of recording."""
    from rerun.chunk import RrdReader

    read: dict[str, dict[str, list]] = {}
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        columns = read.setdefault(chunk.entity_path, {})
        for name in batch.schema.names:
            values = batch.column(name)
            is_time = name in ("camera_time", "log_time")
            columns.setdefault(name, []).extend(
                values.to_numpy(zero_copy_only=False) if is_time else values.to_pylist()
            )
    return read


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "out.rrd"
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match="is there already"):
        RerunOutput(path)
    assert path.read_bytes() == b"mine"
    with pytest.raises(InputError, match="out.rrd"):
        RerunOutput(tmp_path / "none" / "out.rrd")
