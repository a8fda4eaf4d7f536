"""Every kind of source: the trained format, targets that fit the answer, the same draw again."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.small_sets import (
    COLORS,
    KEYPOINTS,
    NAMES,
    SIZE_HW,
    add_phrases,
    draw_scene,
    make_coco,
    write_json,
    write_sets,
)
from vl2_ros.datasets.checking import list_phrases
from vl2_ros.datasets.samples import Group, LabelledObjects, LabelledPoses, TargetImage
from vl2_ros.datasets.sources.source_table import SOURCE_KINDS, guess_kind, open_source
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.parse import Asked, Task
from vl2_ros.processing.language.prompt import IMAGE
from vl2_ros.processing.language.task_formats import interactive_format, write_format
from vl2_ros.processing.sigmas import find_sigmas
from vl2_ros.structures import Route

CONFIG = ProcessingConfig()
#: Kinds whose sets are those of another kind, or look like them.
GUESSED_AS_OTHERS = (
    *("interactive", "in_context", "in_context_text", "grounded_captions", "image_captions"),
    *("simulator", "household"),
)


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> dict:
    return write_sets(tmp_path_factory.mktemp("sets"))


def open_kind(sets: dict, kind: str, **options):
    return open_source({"kind": kind} | sets[kind] | options, Path())


def draw(source, index: int = 1, seed: int = 0):
    return source.sample(index, np.random.default_rng(seed))


def same(one, other) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "__slots__") and not isinstance(one, Group):
        return all(same(getattr(one, name), getattr(other, name)) for name in one.__slots__)
    return bool(one == other)


def test_every_kind_has_a_set(sets):
    assert set(sets) == set(SOURCE_KINDS)


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_a_sample_depends_on_index_and_generator_alone(sets, kind):
    source = open_kind(sets, kind)
    copy = pickle.loads(pickle.dumps(source))
    draws = [draw(source, 1, seed) for seed in range(3)]
    draw(copy, 0, 9)
    assert all(same(draw(copy, 1, seed), one) for seed, one in enumerate(draws))
    # The text of these is that of the record.
    is_fixed = kind in ("chat", "region_chat")
    assert all(same(one, draws[0]) for one in draws) is is_fixed


@pytest.mark.parametrize("kind", SOURCE_KINDS)
@pytest.mark.parametrize("evaluation", [True, False])
def test_regions_and_targets_fit_the_text(sets, kind, evaluation):
    source = open_kind(sets, kind, evaluation=evaluation)
    assert len(source) and source.name and not source.report.losses
    for index in range(len(source)):
        for seed in range(4):
            sample = draw(source, index, seed)
            assert sample.group is source.group and sample.key
            text = "".join(question + answer for question, answer in sample.rounds)
            assert text.count("<region>") == len(sample.regions) == len(sample.region_images)
            assert text.count(IMAGE) in (0, len(sample.images))
            for mask, image in zip(sample.regions, sample.region_images, strict=True):
                assert mask.dtype == np.bool_ and mask.any()
                assert mask.shape == sample.images[image].frame_hw
            check_targets(sample)


def check_targets(sample) -> None:
    targets = sample.targets
    objects, keypoints = list_phrases(sample)
    kinds = {
        Group.TEXT: type(None),
        Group.DETECTION: LabelledObjects,
        Group.POSE: LabelledPoses,
        Group.GENERATION: TargetImage,
        Group.EDITING: TargetImage,
    }
    assert isinstance(targets, kinds[sample.group])
    if isinstance(targets, LabelledPoses):
        assert len(keypoints) == len(targets.sigmas) and (targets.sigmas > 0).all()
        targets = targets.objects
    if isinstance(targets, LabelledObjects):
        boxes, (height, width) = targets.boxes_xyxy, sample.images[-1].frame_hw
        assert boxes.dtype == np.float32 and targets.class_index.dtype == np.int64
        assert (boxes >= 0).all() and (boxes <= (width, height, width, height)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert set(targets.class_index.tolist()) <= set(range(len(objects)))
        if targets.masks is not None:
            assert targets.masks.shape[1:] == (height, width)
            assert targets.masks.any(axis=(1, 2)).all()
    elif sample.group is not Group.TEXT:
        assert len(objects) == 1 and targets.rgb.shape == (*SIZE_HW, 3) and targets.caption


def test_evaluation_asks_in_the_words_of_one_pass_inference(sets):
    asked = Asked(Task.DETECT, NAMES)
    expected = write_format(asked, "", CONFIG)
    sample = draw(open_kind(sets, "coco_instances", evaluation=True))
    assert sample.rounds == ((expected.question, expected.answer),)

    expected = write_format(Asked(Task.POSE, NAMES, KEYPOINTS), "", CONFIG)
    sample = draw(open_kind(sets, "coco_keypoints", evaluation=True))
    assert sample.rounds == ((expected.question, expected.answer),)

    expected = write_format(Asked(Task.LABEL, NAMES), "", CONFIG)
    sample = draw(open_kind(sets, "label_images", evaluation=True))
    assert sample.rounds == ((expected.question, expected.answer),)

    sample = draw(open_kind(sets, "referring", evaluation=True))
    phrase = sample.rounds[0][0].removeprefix("Where is ").removesuffix(" in this picture?")
    expected = write_format(Asked(Task.GROUND, (phrase,)), "", CONFIG)
    assert sample.rounds == ((expected.question, expected.answer),) and phrase

    sample = draw(open_kind(sets, "interactive", evaluation=True))
    expected = interactive_format(len(sample.regions), CONFIG)
    assert sample.rounds == ((expected.question, expected.answer),)

    for kind, task in (("text_to_image", Task.GENERATE), ("edits", Task.EDIT)):
        sample = draw(open_kind(sets, kind, evaluation=True))
        expected = write_format(Asked(task, image_prompt=sample.targets.caption), "", CONFIG)
        assert sample.rounds == ((expected.question, expected.answer),)


def test_expressions_are_asked_as_they_stand_and_as_evaluation_asks(sets):
    source = open_kind(sets, "referring")
    kind = NAMES[draw_scene(0)[1][0][0]]
    questions = " ".join(draw(source, 0, seed).rounds[0][0] for seed in range(40))
    assert f"The other {kind}" in questions and f"the other {kind.lower()}" in questions


def test_class_names_keep_their_case_in_the_answer_of_label_images_alone(sets):
    ((question, answer),) = draw(open_kind(sets, "label_images", evaluation=True)).rounds
    assert "bowl" in question and "Bowl" not in question and f"Bowl{Route.SEGMENT.value}" in answer


def test_label_images_have_all_pixels_of_a_class_as_one_object(sets):
    source = open_kind(sets, "label_images", evaluation=True)
    objects = open_kind(sets, "coco_instances", evaluation=True)
    for index in range(len(source)):
        areas, boxes = draw(source, index).targets, draw(objects, index).targets
        for class_index, mask in zip(areas.class_index, areas.masks, strict=True):
            union = boxes.masks[boxes.class_index == class_index].any(axis=0)
            assert (mask == union).all()


def test_labels_outside_of_the_classes_are_no_class(sets):
    source = open_kind(sets, "label_images", evaluation=True, first_value=1)
    sample = draw(source, 0)
    whole = draw(open_kind(sets, "label_images", evaluation=True), 0)
    assert set(sample.targets.class_index + 1) == set(whole.targets.class_index) - {0}


def test_keypoints_follow_the_order_of_the_answer(sets):
    source = open_kind(sets, "coco_keypoints")
    whole = draw(open_kind(sets, "coco_keypoints", evaluation=True), 2).targets
    assert whole.sigmas == pytest.approx(find_sigmas(KEYPOINTS))
    names = ["left eye", "right eye", "tail tip"]
    for seed in range(10):
        sample = draw(source, 2, seed)
        order = [names.index(name) for name in list_phrases(sample)[1]]
        assert (sample.targets.sigmas == whole.sigmas[order]).all()
        rows = [
            np.flatnonzero((whole.objects.boxes_xyxy == box).all(axis=1))[0]
            for box in sample.targets.objects.boxes_xyxy
        ]
        assert (sample.targets.keypoints_xy == whole.keypoints_xy[rows][:, order]).all()
        assert (sample.targets.is_visible == whole.is_visible[rows][:, order]).all()
        assert (sample.targets.areas == whole.areas[rows]).all()
    assert not whole.is_visible.all()


def test_marks_of_objects_lie_on_them(sets):
    for kind in ("point", "scribble", "polygon", "circle", "box", "mask"):
        source = open_kind(sets, "interactive", marks=[kind])
        for index in range(len(source)):
            sample = draw(source, index)
            for region, mask in zip(sample.regions, sample.targets.masks, strict=True):
                shared = (region & mask).sum()
                # Of a dot on a corner, three of five pixels.
                assert shared >= 0.6 * region.sum()
                if kind in ("polygon", "box", "mask"):
                    assert shared >= 0.9 * mask.sum()


def test_in_context_examples_show_another_image_with_the_same_class(sets):
    source = open_kind(sets, "in_context")
    for index in range(len(source)):
        sample = draw(source, index)
        *examples, target = sample.images
        assert examples and sample.region_images == tuple(range(len(examples)))
        color = target.rgb[sample.targets.masks[0]][0]
        for frame, region in zip(examples, sample.regions, strict=True):
            assert not np.array_equal(frame.rgb, target.rgb)
            assert (frame.rgb[region] == color).all()
        all_of_it = (target.rgb == color).all(axis=2)
        assert (sample.targets.masks.any(axis=0) == all_of_it).all()


def test_in_context_words_follow_examples_of_words_about_other_images(sets):
    options = {"annotations": sets["region_captions"]["annotations"], "task": "names"}
    source = open_kind(sets, "in_context_text", **options)
    assert len(source) == sum(open_kind(sets, "coco_instances").count_classes().values())
    counts = set()
    for index in range(len(source)):
        sample = draw(source, index)
        counts.add(len(sample.images))
        ((question, answer),) = sample.rounds
        *before, last = question.split(IMAGE)[1:]
        assert sample.region_images == tuple(range(len(sample.images)))
        for text, frame, region in zip(before, sample.images, sample.regions, strict=False):
            assert f"{name_region(frame, region).lower().capitalize()}." in text
        assert "<reg>region<region></reg>" in last
        assert answer == f"{name_region(sample.images[-1], sample.regions[-1]).capitalize()}."
        shown = {frame.rgb.tobytes() for frame in sample.images}
        assert len(shown) == len(sample.images)
    assert counts == {2, 3}
    asked = draw(open_kind(sets, "in_context_text", evaluation=True), 3)
    assert len(asked.images) == 2 and asked.rounds[0][1].startswith("The ")


def name_region(frame, region) -> str:
    (color,) = {tuple(one) for one in frame.rgb[region].tolist()}
    return NAMES[COLORS.index(color)].lower()


def test_grounded_captions_have_their_boxes_behind_each_phrase(sets):
    source = open_kind(sets, "grounded_captions")
    several = 0
    for index in range(len(source)):
        sample = draw(source, index)
        ((_, answer),) = sample.rounds
        phrases = re.findall(r"<det>small (.*?)</det>\[DET\]", answer)
        assert answer.startswith("There are") and answer.endswith("on a table.")
        assert answer.count("[DET]") == len(phrases) == len(set(phrases))
        targets = sample.targets
        for one, mask in zip(targets.class_index, targets.masks, strict=True):
            assert phrases[one].lower() == name_region(sample.images[0], mask)
        several += len(targets.class_index) > len(phrases)
    assert several


def test_phrases_inside_of_others_are_no_phrases_of_their_own(tmp_path):
    document = add_phrases(make_coco(tmp_path))
    image, rows = 2, [row for row in document["annotations"] if row["image_id"] == 2]
    assert len(rows) == 3
    document["images"][image]["caption"] = "A [DET] red mug and bowls."
    for row, spans in zip(rows, ([[0, 15]], [[8, 11]], [[20, 25], [0, 1]]), strict=True):
        row["tokens_positive"] = spans
    path = write_json(tmp_path / "phrases.json", document)
    source = open_source({"kind": "grounded_captions", "annotations": str(path)}, Path())
    sample = draw(source, image)
    assert sample.rounds[0][1] == ("<det>A [ DET ] red mug</det>[DET] and <det>bowls</det>[DET].")
    assert sample.targets.class_index.tolist() == [0, 1]
    for row in rows:
        del row["tokens_positive"]
    write_json(path, document)
    source = open_source({"kind": "grounded_captions", "annotations": str(path)}, Path())
    assert len(source) == 5 and not source.report.losses
    assert list(source.report.notes.values()) == [1]


def test_region_words_are_about_their_regions(sets):
    source = open_kind(sets, "region_captions", task="names", evaluation=True)
    objects = draw(open_kind(sets, "coco_instances", evaluation=True), 2).targets
    sample = draw(source, 2)
    answers = [answer for _, answer in sample.rounds]
    assert answers == [f"{NAMES[one].lower().capitalize()}." for one in objects.class_index]
    assert all((a == b).all() for a, b in zip(sample.regions, objects.masks, strict=True))
    ((question, _),) = draw(open_kind(sets, "region_chat")).rounds
    assert question.startswith("Is <reg>region2<region></reg> larger than <reg>region1<region>")


def test_the_instruction_of_an_edit_may_stand_alone(sets):
    source = open_kind(sets, "edits", bare_share=1.0)
    assert draw(source).rounds[0][0] == "Move the shapes."
    assert draw(open_kind(sets, "edits", bare_share=0.0)).rounds[0][0] != "Move the shapes."


def test_the_kind_is_guessed_by_the_content(sets):
    for kind, settings in sets.items():
        if kind in GUESSED_AS_OTHERS:
            continue
        assert guess_kind(Path(settings["annotations"])) == kind


def test_captions_of_a_coco_file_are_pairs(sets, tmp_path):
    pairs = open_kind(sets, "text_to_image", evaluation=True)
    images = [{"id": f"i{n}", "file_name": f"scene{n}.png"} for n in range(6)]
    rows = [{"id": n, "image_id": f"i{n}", "caption": f"Shapes, number {n}."} for n in range(6)]
    path = write_json(tmp_path / "captions.json", {"annotations": rows, "images": images})
    folder = Path(sets["coco_instances"]["annotations"]).parent / "images"
    assert guess_kind(path) == "text_to_image"
    settings = {"kind": "text_to_image", "annotations": str(path), "images": str(folder)}
    source = open_source(settings | {"evaluation": True}, Path())
    assert len(source) == 6 and not source.report.losses
    for index in range(6):
        mine, other = draw(source, index), draw(pairs, index)
        assert mine.rounds == other.rounds and (mine.targets.rgb == other.targets.rgb).all()
    rows[2]["image_id"] = "none"
    write_json(path, {"annotations": rows, "images": images})
    (loss,) = open_source(settings, Path()).report.losses
    assert loss.count == 1 and loss.reason == "image without a file name"
