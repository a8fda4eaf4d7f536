"""Tracks over made-up frames: boxes with known motion, phrases and gaps."""

from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.errors import InputError
from vl2_ros.structures import Branch, Detections, Keypoints, Masks, Route, TrackingOptions
from vl2_ros.tracking.tracks import Tracks, track_branches

PERIOD_NS = 100_000_000
SIDE = 40.0


def make_branch(centers, labels="mug", route=Route.DETECT, side=SIDE, **fields) -> Branch:
    """A square box of `side` pixels around each (x, y)."""
    centers = np.array(centers, np.float32).reshape(-1, 2)
    names = (labels,) * len(centers) if isinstance(labels, str) else tuple(labels)
    phrases = tuple(dict.fromkeys(names))
    found = Detections(
        boxes_xyxy=np.concatenate([centers - side / 2, centers + side / 2], axis=1),
        scores=np.full(len(centers), 0.9, np.float32),
        class_ids=np.array([phrases.index(name) for name in names], np.int64),
        labels=names,
        **fields,
    )
    return Branch(route, phrases, found)


class Watch:
    """Follows frame after frame, a period apart."""

    def __init__(self, hidden_frames: int = 10, first_id: int = 1) -> None:
        self.options = TrackingOptions(hidden_frames, first_id)
        self.tracks: Tracks | None = None
        self.stamp_ns = 0

    def see(self, *branches: Branch, stamp_ns: int | None = None) -> list[int]:
        self.stamp_ns = self.stamp_ns + PERIOD_NS if stamp_ns is None else stamp_ns
        tracked, self.tracks = track_branches(branches, self.tracks, self.stamp_ns, self.options)
        return [int(number) for one in tracked for number in one.detections.track_ids]

    def see_at(self, *centers, stamp_ns: int | None = None, **fields) -> list[int]:
        return self.see(make_branch(centers, **fields), stamp_ns=stamp_ns)


def test_ids_begin_at_one_and_stay_with_their_objects():
    watch = Watch()
    assert watch.see_at((100, 100), (300, 100)) == [1, 2]
    assert watch.see_at((302, 100), (103, 100)) == [2, 1]
    assert watch.see_at((105, 100), (500, 100), (304, 100)) == [1, 3, 2]


def test_objects_of_one_phrase_cross_without_changing_ids():
    watch = Watch()
    for step in range(25):
        ids = watch.see_at((100 + 8 * step, 100), (292 - 8 * step, 106))
        assert ids == [1, 2], step


def test_a_crossing_with_one_object_hidden_at_the_meeting_keeps_both_ids():
    watch = Watch()
    for step in range(25):
        centers = [(100 + 8 * step, 100), (292 - 8 * step, 106)]
        is_hidden = 9 <= step <= 14
        assert watch.see_at(*centers[: 1 if is_hidden else 2]) == ([1] if is_hidden else [1, 2])


@pytest.mark.parametrize("speed", [0, 3, 12])
def test_an_object_keeps_its_id_after_ten_hidden_frames(speed):
    watch = Watch(hidden_frames=10)
    for step in range(8):
        assert watch.see_at((50 + speed * step, 100)) == [1]
    for _ in range(10):
        assert watch.see() == []
    assert watch.see_at((50 + speed * 18, 100)) == [1]


def test_a_track_ends_after_its_hidden_frames_and_its_id_is_not_used_again():
    watch = Watch(hidden_frames=10)
    watch.see_at((100, 100))
    for _ in range(11):
        watch.see()
    assert watch.tracks is not None and len(watch.tracks.ids) == 0
    assert watch.see_at((100, 100)) == [2]


def test_hidden_frames_are_counted_from_the_last_sight():
    watch = Watch(hidden_frames=2)
    for _ in range(5):
        assert watch.see_at((100, 100)) == [1]
        watch.see()
        watch.see()


def test_without_hidden_frames_one_gap_ends_a_track():
    watch = Watch(hidden_frames=0)
    assert watch.see_at((100, 100)) == watch.see_at((100, 100)) == [1]
    watch.see()
    assert watch.see_at((100, 100)) == [2]


def test_another_phrase_at_the_same_place_is_another_track_and_gives_the_id_back():
    watch = Watch()
    assert watch.see_at((100, 100), labels="mug") == [1]
    for _ in range(3):
        assert watch.see_at((100, 100), labels="bowl") == [2]
    assert watch.see_at((100, 100), labels="mug") == [1]


def test_the_same_phrase_of_two_routes_is_two_tracks():
    watch = Watch()
    boxes, poses = make_branch([(100, 100)]), make_branch([(100, 100)], route=Route.POSE)
    assert watch.see(boxes, poses) == [1, 2]
    assert watch.see(poses, boxes) == [2, 1]


def test_duplicates_of_one_object_are_two_tracks_and_stay_apart():
    watch = Watch()
    for _ in range(4):
        assert watch.see_at((100, 100), (102, 101)) == [1, 2]
    assert watch.see_at((100, 100)) == [1]


def test_two_objects_with_the_same_box_get_two_ids():
    watch = Watch()
    assert sorted(watch.see_at((100, 100), (100, 100))) == [1, 2]
    assert sorted(watch.see_at((100, 100), (100, 100))) == [1, 2]


def test_frames_without_branches_or_instances_give_none():
    watch = Watch()
    assert watch.see() == watch.see(make_branch([])) == []
    assert watch.see_at((100, 100)) == [1]


def test_speed_is_by_stamps_not_by_frames():
    watch = Watch()
    stamps_s = [0.1, 0.2, 0.45, 0.5, 0.9, 1.0, 1.5, 1.55, 2.0]
    for stamp_s in stamps_s:
        # 100 pixels a second: up to 50 in one step, more than the box.
        stamp_ns = round(stamp_s * 1e9)
        assert watch.see_at((50 + 100 * stamp_s, 100), stamp_ns=stamp_ns) == [1], stamp_s


def test_a_small_fast_object_that_leaves_its_box_keeps_its_id():
    watch = Watch()
    for step in range(12):
        assert watch.see_at((30 + 14 * step, 100), (30 + 14 * step, 200), side=12.0) == [1, 2]


@pytest.mark.parametrize("back_ns", [PERIOD_NS, 10 * PERIOD_NS, 10**18])
def test_a_stamp_that_jumps_back_stops_the_motion_and_keeps_what_is_in_place(back_ns):
    watch = Watch()
    start_ns = 2 * 10**18
    for step in range(6):
        watch.see_at((100 + 5 * step, 100), (400, 100), stamp_ns=start_ns + step * PERIOD_NS)
    ids = watch.see_at((400, 100), (125, 100), (800, 100), stamp_ns=start_ns - back_ns)
    assert ids == [2, 1, 3]


def test_equal_stamps_and_frames_without_a_stamp_are_followed():
    watch = Watch()
    assert [watch.see_at((100, 100), stamp_ns=7) for _ in range(3)] == [[1]] * 3
    unstamped = Watch()
    for step in range(10):
        assert unstamped.see_at((100 + 25 * step, 100), stamp_ns=0) == [1]


def test_a_long_pause_does_not_carry_objects_away():
    watch = Watch()
    for step in range(6):
        watch.see_at((100 + 2 * step, 100))
    assert watch.see_at((112, 100), stamp_ns=watch.stamp_ns + 3600 * 10**9) == [1]


def test_ids_begin_at_the_first_id_and_after_those_of_the_tracks():
    watch = Watch(first_id=8)
    assert watch.see_at((100, 100), (300, 100)) == [8, 9]
    assert watch.see_at((100, 100), (500, 100)) == [8, 10]


def test_masks_keypoints_and_order_of_the_instances_are_kept():
    dense = np.zeros((2, 8, 8), np.bool_)
    dense[0, 1, 2] = dense[1, 5, 6] = True
    masks = Masks.cut(dense)
    keypoints = Keypoints(("nose",), np.ones((2, 1, 2), np.float32), np.ones((2, 1), np.float32))
    before = make_branch([(100, 100), (300, 100)], masks=masks, keypoints=keypoints)
    (after,), _ = track_branches([before], None, 1, TrackingOptions())
    assert before.detections.track_ids is None
    assert after.detections.masks is masks and after.detections.keypoints is keypoints
    np.testing.assert_array_equal(after.detections.boxes_xyxy, before.detections.boxes_xyxy)
    assert after.detections.track_ids.dtype == np.int64


def test_a_frame_changes_no_earlier_tracks():
    watch = Watch()
    watch.see_at((100, 100), (300, 100))
    kept = watch.tracks
    assert kept is not None
    boxes = kept.motion.boxes_cxcywh.copy()
    again = [
        track_branches([make_branch([(110, 100)])], kept, 2 * PERIOD_NS, TrackingOptions())[1]
        for _ in range(2)
    ]
    np.testing.assert_array_equal(kept.motion.boxes_cxcywh, boxes)
    np.testing.assert_array_equal(again[0].motion.boxes_cxcywh, again[1].motion.boxes_cxcywh)
    assert repr(kept) == "Tracks([1, 2], next_id=3)"


def test_fifty_objects_in_motion_keep_their_ids():
    rng = np.random.default_rng(3)
    centers = np.stack(np.meshgrid(np.arange(10), np.arange(5)), axis=-1).reshape(-1, 2) * 60.0
    speeds = rng.uniform(-6, 6, (50, 2))
    watch = Watch()
    for step in range(20):
        order = rng.permutation(50)
        found = centers + speeds * step + rng.normal(0, 0.5, (50, 2))
        ids = np.array(watch.see_at(*found[order]))
        if step == 0:
            own = np.empty(50, np.int64)
            own[order] = ids
        np.testing.assert_array_equal(ids, own[order])


def test_degenerate_boxes_are_tracked():
    watch = Watch()
    for _ in range(3):
        assert watch.see_at((100, 100), (300, 300), side=0.0) == [1, 2]


@pytest.mark.parametrize("fields", [{"hidden_frames": -1}, {"first_id": 0}])
def test_options_out_of_range_are_refused(fields):
    with pytest.raises(InputError, match="at least"):
        TrackingOptions(**fields)


def see_scored(watch: Watch, score: float, x: float = 100.0) -> list[int]:
    branch = make_branch([(x, 100)])
    found = branch.detections
    weak = Detections(
        found.boxes_xyxy, np.array([score], np.float32), found.class_ids, found.labels
    )
    return watch.see(Branch(branch.route, branch.phrases, weak))


def test_an_unsure_object_gets_its_id_when_it_is_found_again():
    watch = Watch()
    assert [see_scored(watch, 0.45) for _ in range(3)] == [[0], [1], [1]]


def test_an_unsure_object_that_is_gone_in_the_next_frame_uses_up_no_id():
    watch = Watch()
    for _ in range(3):
        assert see_scored(watch, 0.45) == [0]
        assert watch.see() == []
    assert watch.see_at((100, 100)) == [1]


def test_a_track_is_continued_by_a_low_score():
    watch = Watch()
    assert watch.see_at((100, 100)) == [1]
    assert [see_scored(watch, 0.36, 102.0) for _ in range(3)] == [[1]] * 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_boxes_that_are_nowhere_disturb_no_other(value):
    watch = Watch()
    for _ in range(3):
        lost = make_branch([(value, 100), (100, 100)])
        assert watch.see(lost)[1] == 2
    assert watch.see_at((100, 100)) == [2]


def test_hidden_tracks_are_bounded_and_the_last_seen_ones_stay():
    watch = Watch(hidden_frames=1000)
    for step in range(25):
        centers = [(100.0 * number, 1000.0 * step) for number in range(100)]
        watch.see_at(*centers)
        assert watch.tracks is not None and len(watch.tracks.ids) <= 1000
    assert watch.see_at((0, 24_000), (100, 24_000)) == [2401, 2402]
    assert watch.see_at((0, 0)) == [2501]
