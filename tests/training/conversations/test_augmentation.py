"""Images, regions and targets change together; words that would become wrong prevent it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.training.conversations.small_sources import COLOURS, KINDS, SmallSource, draw_scene
from vl2_ros.datasets.samples import Group, LabelledObjects, LabelledPoses
from vl2_ros.errors import ConfigError
from vl2_ros.training.conversations.augmentation import Augmentation, augment, crop_to, mirror

#: Everything but light, which would change the colours that these tests look for.
SHAPES = Augmentation(flip=0.5, crop=1.0, least_crop=0.6, light=0.0, blur=0.0)


def sample_of(kind, index=0):
    return SmallSource(kind).sample(index, np.random.default_rng(0))


def reword(sample, question, answer):
    return replace(sample, rounds=((question, answer),))


def find_colour(rgb, colour):
    """Return the box of the pixels of a colour: x1, y1, x2, y2."""
    rows, columns = np.nonzero((rgb == np.array(colour, np.uint8)).all(-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def assert_boxes_fit(sample):
    """Each box is where its colour is, and so is each mask."""
    rgb = sample.images[-1].rgb
    names = [name.rpartition(" square")[0] for name in sample.rounds[0][1].split("[DET]")[:-1]]
    colours = [name.split()[-1] for name in names]
    objects = sample.targets
    for box, class_index, mask in zip(
        objects.boxes_xyxy, objects.class_index, objects.masks, strict=True
    ):
        colour = COLOURS[colours[class_index]]
        np.testing.assert_array_equal(box, find_colour(rgb, colour))
        np.testing.assert_array_equal(mask, (rgb == np.array(colour, np.uint8)).all(-1))


@pytest.mark.parametrize("seed", range(12))
def test_boxes_and_masks_stay_on_their_objects(seed):
    augmented = augment(sample_of("detection", seed), SHAPES, np.random.default_rng(seed))
    assert augmented.images[-1].rgb.size < draw_scene(seed)[0].size
    assert len(augmented.targets.class_index) >= 1
    assert_boxes_fit(augmented)


def test_draws_of_one_generator_are_repeated():
    first, second = (
        augment(sample_of("detection"), Augmentation(), np.random.default_rng(5)) for _ in range(2)
    )
    np.testing.assert_array_equal(first.images[0].rgb, second.images[0].rgb)
    np.testing.assert_array_equal(first.targets.boxes_xyxy, second.targets.boxes_xyxy)


@pytest.mark.parametrize("kind", [one for one in KINDS if one not in ("detection", "pose")])
def test_only_samples_of_the_perception_decoders_are_changed(kind):
    sample = sample_of(kind)
    changed = augment(sample, replace(SHAPES, light=0.2), np.random.default_rng(0))
    assert (changed is sample) is (sample.group not in (Group.DETECTION, Group.POSE))


def test_mirror_exchanges_left_and_right_keypoints():
    sample = sample_of("pose")
    mirrored = mirror(sample)
    width = sample.images[0].frame_hw[1]
    before, after = sample.targets, mirrored.targets
    assert isinstance(after, LabelledPoses)
    # The left edge is the least x again.
    np.testing.assert_allclose(after.keypoints_xy[:, 0, 0], after.objects.boxes_xyxy[:, 0])
    np.testing.assert_allclose(after.keypoints_xy[:, 1, 0], after.objects.boxes_xyxy[:, 2])
    np.testing.assert_allclose(after.keypoints_xy[:, 2, 0], width - before.keypoints_xy[:, 2, 0])
    np.testing.assert_array_equal(after.is_visible, before.is_visible)


def test_a_keypoint_without_its_partner_prevents_a_mirror():
    sample = sample_of("pose")
    answer = "red square[DET], blue square[DET]: left edge[POSE], far edge[POSE], middle[POSE]."
    sample = reword(sample, "Find the left edge, far edge and middle of every square.", answer)
    assert mirror(sample) is sample


@pytest.mark.parametrize(
    ("first", "second", "is_mirrored"),
    [
        ("l edge", "r edge", True),
        ("l f paw", "r f paw", True),
        ("l edge", "far edge", False),
        ("ledge", "redge", False),
        ("lefteye", "righteye", False),
        ("leye", "nose", False),
        ("eye r", "nose", False),
        ("nose", "tail tip", None),
    ],
)
def test_sides_of_keypoints_are_exchanged_or_nothing_is_mirrored(first, second, is_mirrored):
    sample = sample_of("pose")
    answer = f"red square[DET], blue square[DET]: {first}[POSE], {second}[POSE], middle[POSE]."
    sample = reword(sample, f"Find the {first}, {second} and middle of every square.", answer)
    mirrored = mirror(sample)
    if is_mirrored is False:
        assert mirrored is sample
        return
    boxes = mirrored.targets.objects.boxes_xyxy
    np.testing.assert_allclose(
        mirrored.targets.keypoints_xy[:, 0, 0], boxes[:, 0 if is_mirrored else 2]
    )


@pytest.mark.parametrize("word", ["left", "Right", "leftmost", "upper-left"])
def test_a_word_for_a_side_prevents_a_mirror_and_a_crop(word):
    said = reword(sample_of("detection"), f"Find the {word} square.", "red square[DET].")
    assert mirror(said) is said
    assert augment(said, SHAPES, np.random.default_rng(0)).targets is said.targets


def test_a_word_for_a_place_prevents_a_crop():
    said = reword(sample_of("detection"), "Find the top square.", "red square[DET].")
    assert augment(said, replace(SHAPES, flip=0.0), np.random.default_rng(0)).targets is (
        said.targets
    )
    assert mirror(said) is not said


def test_a_crop_keeps_what_an_expression_is_about():
    sample = sample_of("detection")
    x1, y1, x2, y2 = sample.targets.boxes_xyxy[0].astype(int)
    window = (x1, y1, x2, y2)
    assert len(crop_to(sample, window).targets.class_index) == 1
    expression = reword(sample, "Where are the squares?", "Here[GRD].")
    assert crop_to(expression, window) is None


def label(sample, *boxes, answer="thing[DET]."):
    """Return a sample with boxes as its objects, whose masks lie on their left third."""
    masks = np.zeros((len(boxes), *sample.images[0].frame_hw), np.bool_)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1 : x1 + (x2 - x1) // 3] = True
    objects = LabelledObjects(
        np.array(boxes, np.float32), np.arange(len(boxes), dtype=np.int64), masks
    )
    return replace(reword(sample, "Find things.", answer), targets=objects)


def test_an_object_that_fills_the_crop_stays_a_target():
    sample = sample_of("detection")
    height, width = sample.images[0].frame_hw
    whole = label(sample, (0, 0, width, height))
    bare = replace(whole, targets=replace(whole.targets, masks=None))
    cut = crop_to(bare, (width // 4, height // 4, width * 3 // 4, height * 3 // 4))
    assert cut.targets.boxes_xyxy.tolist() == [[0.0, 0.0, width / 2, height / 2]]


def test_boxes_of_cut_objects_are_those_of_their_masks():
    sample = label(sample_of("detection"), (0, 0, 90, 40), (60, 20, 90, 50))
    cut = crop_to(sample, (20, 0, 100, 60)).targets
    # The mask of the first ends at 30; the second is whole, as is its box.
    assert cut.class_index.tolist() == [1]
    assert cut.boxes_xyxy.tolist() == [[40.0, 20.0, 70.0, 50.0]]
    large = crop_to(sample, (2, 0, 100, 60)).targets
    assert large.boxes_xyxy[0].tolist() == [58.0, 20.0, 88.0, 50.0]
    near = crop_to(sample, (0, 0, 80, 35)).targets
    assert near.boxes_xyxy.tolist() == [[0.0, 0.0, 30.0, 35.0]]


def test_a_class_stays_while_a_pixel_of_it_is_left():
    boxes = (0, 0, 90, 40), (60, 20, 90, 50)
    sample = label(sample_of("detection"), *boxes, answer="a[SEG], b[SEG].")
    cut = crop_to(sample, (29, 0, 100, 60)).targets
    assert cut.class_index.tolist() == [0, 1] and cut.masks.any(axis=(1, 2)).all()
    assert cut.boxes_xyxy[0].tolist() == [0.0, 0.0, 1.0, 40.0]
    assert crop_to(sample, (30, 0, 100, 60)).targets.class_index.tolist() == [1]


def test_a_crop_without_objects_or_regions_is_refused():
    sample = sample_of("prompts")
    x1, y1, _, _ = sample.targets.boxes_xyxy[0].astype(int)
    height, width = sample.images[0].frame_hw
    empty = (0, 0, x1, height) if x1 > 1 else (0, 0, width, y1)
    assert crop_to(sample, empty) is None
    bare = replace(
        sample, targets=LabelledObjects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    )
    assert crop_to(bare, empty) is None, "the region is gone"
    assert crop_to(replace(bare, regions=(), region_images=()), empty) is not None


def test_keypoints_outside_of_a_crop_are_not_labelled():
    sample = sample_of("pose")
    x1, y1, x2, y2 = sample.targets.objects.boxes_xyxy[0].astype(int)
    cut = crop_to(sample, (x1, y1, x1 + (x2 - x1) * 3 // 4, y2))
    assert cut.targets.is_visible[0].tolist() == [True, False, False]
    assert cut.targets.keypoints_xy[0, 0].tolist() == [0.0, (y2 - y1) / 2]


def test_settings_outside_their_range_are_refused():
    with pytest.raises(ConfigError, match="least_crop"):
        Augmentation(least_crop=0.0)
