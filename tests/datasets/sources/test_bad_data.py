"""Bad data is counted, named and skipped, or an error with `strict`; it is never a traceback."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.small_sets import add_keypoints, make_coco, write_json, write_sets
from vl2_ros.datasets.checking import check_source
from vl2_ros.datasets.sources.source_table import open_source, read_source
from vl2_ros.errors import ConfigError, InputError


@pytest.fixture
def coco(tmp_path) -> dict:
    return add_keypoints(make_coco(tmp_path, 40))


def read(folder: Path, document, kind: str = "coco_instances", **options):
    path = write_json(folder / "index.json", document)
    return read_source({"kind": kind, "annotations": str(path)} | options, folder)


def set_row(**values):
    return lambda coco, folder: coco["annotations"][5].update(values)


def set_category(**values):
    return lambda coco, folder: coco["categories"].append(coco["categories"][0] | values)


def drop_image(coco, folder):
    (folder / "images" / "scene3.png").unlink()


def truncate_image(coco, folder):
    path = folder / "images" / "scene3.png"
    path.write_bytes(path.read_bytes()[:100])


def resize_labels(coco, folder):
    coco["images"][3].update(width=81)


def repeat_image(coco, folder):
    coco["images"].append(dict(coco["images"][3]))


def repeat_annotation(coco, folder):
    coco["annotations"].append(dict(coco["annotations"][3]))


def repeat_category(coco, folder):
    coco["categories"].append(dict(coco["categories"][0]))


BAD = [
    (drop_image, "images", "image missing", "scene3.png"),
    (truncate_image, "images", "image damaged or truncated", "scene3.png"),
    (resize_labels, "images", "image of another size than its labels", "scene3.png"),
    (repeat_image, "images", "id repeats", "scene3.png"),
    (repeat_annotation, "annotations", "id repeats", "id 3 of image"),
    (repeat_category, "categories", "id repeats", "id 1"),
    (set_row(bbox=[200, 5, 10, 10]), "annotations", "box outside of its image", "scene2.png"),
    (set_row(bbox=[20, 5, 0, 10]), "annotations", "box of no area", "id 5"),
    (set_row(bbox=[20, 5, 10]), "annotations", "box is not four numbers", "id 5"),
    (set_row(category_id=99), "annotations", "category unknown", "id 5 at byte"),
    (set_category(id=9, sigmas=[0.1]), "categories", "sigmas do not fit the keypoints", "id 9"),
    (set_category(id=9, sigmas=3), "categories", "sigmas do not fit the keypoints", "id 9"),
    (set_category(id=9, name=" "), "categories", "category without a name", "id 9"),
    (set_category(id=9, keypoints=[3]), "categories", "keypoints are no names", "id 9"),
    (lambda coco, _: coco["images"][3].update(width=10**400), "images", "without a size", "scene3"),
    (set_row(image_id=99), "annotations", "image unknown", "annotation id 5 at byte"),
    (set_row(image_id=[1]), "annotations", "image_id is no number or text", "id 5"),
    (
        set_row(segmentation={"size": [61, 80], "counts": [0, 4880]}),
        "annotations",
        "run lengths of another size than their image",
        "scene2.png",
    ),
    (
        set_row(segmentation={"size": [60, 80], "counts": [1]}),
        "annotations",
        "run lengths damaged",
        "id 5",
    ),
    (
        set_row(segmentation={"size": [60, 80], "counts": "\ud800"}),
        "annotations",
        "run lengths damaged",
        "id 5",
    ),
    (
        set_row(segmentation=[[1, 2, 3, 4, 5]]),
        "annotations",
        "outline is not three or more pairs of numbers",
        "id 5",
    ),
]


@pytest.mark.parametrize(("break_it", "unit", "reason", "name"), BAD)
def test_a_bad_record_is_named_and_skipped(tmp_path, coco, break_it, unit, reason, name):
    break_it(coco, tmp_path)
    source = read(tmp_path, coco)
    check_source(source, examples=0)
    (loss,) = source.report.losses
    assert (loss.unit, loss.count) == (unit, 1) and reason in loss.reason
    assert name in loss.names[0]
    assert any(reason in line and name in line for line in source.report.list_warnings())
    for index in range(len(source)):
        source.sample(index, np.random.default_rng(index))


@pytest.mark.parametrize(("break_it", "unit", "reason", "name"), BAD)
def test_a_bad_record_is_an_error_with_strict(tmp_path, coco, break_it, unit, reason, name):
    break_it(coco, tmp_path)
    with pytest.raises(InputError, match=reason) as caught:
        check_source(read(tmp_path, coco, strict=True), examples=0)
    assert name in str(caught.value)


def test_keypoints_of_a_wrong_number_are_skipped(tmp_path, coco):
    coco["annotations"][5]["keypoints"].pop()
    coco["annotations"][6]["keypoints"] = "none"
    report = read(tmp_path, coco, "coco_keypoints").report
    assert {one.reason for one in report.losses} == {
        "keypoints of a wrong number",
        "keypoints are no numbers",
    }
    with pytest.raises(InputError, match="keypoints"):
        read(tmp_path, coco, "coco_keypoints", strict=True)


def test_nothing_else_is_lost_with_a_bad_record(tmp_path, coco):
    whole = read(tmp_path, coco).count_classes()
    kind = coco["annotations"][5]["category_id"]
    coco["annotations"][5]["bbox"] = [0, 0, 0, 0]
    less = read(tmp_path, coco).count_classes()
    changed = {name: whole[name] - less[name] for name in whole if whole[name] != less[name]}
    assert list(changed.values()) == [1] and coco["categories"][kind - 1]["name"] in changed


def test_an_image_that_lost_all_of_its_labels_is_not_shown_as_empty(tmp_path, coco):
    only = [row for row in coco["annotations"] if row["image_id"] == 3]
    assert len(only) == 1
    before = len(read(tmp_path, coco))
    coco["annotations"].remove(only[0])
    assert len(read(tmp_path, coco)) == before
    coco["annotations"].append(only[0] | {"category_id": 99})
    assert len(read(tmp_path, coco)) == before - 1


def test_groups_are_noted_and_not_lost(tmp_path, coco):
    coco["annotations"][5]["iscrowd"] = 1
    report = read(tmp_path, coco).report
    assert not report.losses and report.notes == {"groups (iscrowd) that are skipped": 1}


@pytest.mark.parametrize(
    "text", ["", "{", '{"images": [{"id"', "[1, 2]x", "null", '{"images": {}}', "\x00"]
)
@pytest.mark.parametrize("kind", ["coco_instances", "coco_keypoints", "chat", "edits"])
def test_a_damaged_index_is_counted_and_named(tmp_path, text, kind):
    (tmp_path / "index.json").write_text(text)
    settings = {"kind": kind, "annotations": "index.json"}
    source = read_source(settings, tmp_path)
    assert len(source) == 0
    with pytest.raises(ConfigError, match="no record that can be used"):
        open_source(settings, tmp_path)


def test_an_index_over_the_limit_is_counted_and_named(tmp_path, coco):
    for kind in ("coco_instances", "coco_keypoints", "interactive", "in_context", "referring"):
        source = read(tmp_path, coco, kind, max_bytes=1000)
        (loss,) = source.report.losses
        assert loss.unit == "files" and "over the limit of 1000" in loss.names[0]
        assert len(source) == 0 and source.report.is_lossy
        with pytest.raises(InputError, match="over the limit of 1000"):
            read(tmp_path, coco, kind, max_bytes=1000, strict=True)


def test_a_loss_of_more_than_one_percent_is_loud(tmp_path, coco, caplog):
    count = len(coco["annotations"])
    coco["annotations"] += [
        row | {"id": 1000 + row["id"]} for row in coco["annotations"] for _ in range(1)
    ] + [row | {"id": 2000 + row["id"]} for row in coco["annotations"]]
    coco["annotations"][5]["bbox"] = [0, 0, 0, 0]
    report = read(tmp_path, coco).report
    assert report.lost_share("annotations") == pytest.approx(1 / (3 * count))
    assert not report.is_lossy and not any("LOST" in line for line in report.list_warnings())
    for row in coco["annotations"][5:9]:
        row["bbox"] = [0, 0, 0, 0]
    path = write_json(tmp_path / "index.json", coco)
    with caplog.at_level(logging.WARNING):
        source = open_source({"kind": "coco_instances", "annotations": path}, tmp_path)
    assert source.report.is_lossy
    assert "LOST" in caplog.text and "OF THE ANNOTATIONS" in caplog.text


def test_an_image_that_breaks_while_training_is_replaced_and_counted(tmp_path, coco, caplog):
    source = read(tmp_path, coco)
    after = source.sample(4, np.random.default_rng(0))
    truncate_image(coco, tmp_path)
    with caplog.at_level(logging.WARNING):
        sample = source.sample(3, np.random.default_rng(0))
        again = source.sample(3, np.random.default_rng(0))
    assert sample.key == again.key == after.key == "scene4.png"
    # What the broken record drew before it failed is no matter.
    assert sample.rounds == again.rounds
    (loss,) = source.report.losses
    assert loss.count == 1 and "scene3.png" in loss.names[0]
    assert caplog.text.count("is replaced by the next record") == 1
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="all bad; run vl2 data check"):
        source.sample(0, np.random.default_rng(0))


def test_a_record_that_is_bad_with_some_draws_is_tried_again(tmp_path):
    """One mask of an image has no pixel: a sample that shows the other is the same ever after."""
    document = make_coco(tmp_path, 40)
    document["annotations"][2]["segmentation"] = [[-9, -9, -5, -9, -5, -5]]
    assert document["annotations"][2]["image_id"] == document["annotations"][1]["image_id"] == 1
    seeds = range(12)
    path = write_json(tmp_path / "index.json", document)
    setting = {"kind": "interactive", "annotations": str(path), "max_objects": 1}

    def draw(source, order):
        return {seed: source.sample(1, np.random.default_rng(seed)).key for seed in order}

    forth, back = (draw(read_source(setting, tmp_path), order) for order in (seeds, seeds[::-1]))
    assert forth == back
    assert set(forth.values()) == {"scene1.png", "scene2.png"}


def test_a_broken_example_is_replaced_by_another(tmp_path, coco):
    source = read(tmp_path, coco, "in_context")
    (tmp_path / "images" / "scene3.png").unlink()
    numbers = [one for one in range(len(source)) if source.key(one) != "scene3.png"]
    for number in numbers:
        for seed in range(3):
            sample = source.try_record(number, np.random.default_rng(seed))
            assert sample is not None and len(sample.images) > 1
    for path in (tmp_path / "images").iterdir():
        if path.name != "scene0.png":
            path.unlink()
    assert source.try_record(0, np.random.default_rng(0)) is None
    assert "no example can be used" in source.report.losses[-1].reason


RECORDS = [
    ("chat", lambda row: row.update(image="none.png"), "image missing"),
    ("chat", lambda row: row.update(image=7), "image without a file name"),
    ("chat", lambda row: row["conversations"].pop(), "conversation is not question and answer"),
    ("chat", lambda row: row["conversations"][1].update(value=" "), "question or answer empty"),
    ("chat", lambda row: row["conversations"][1].update({"from": "human"}), "in turn"),
    ("chat", lambda row: row.update(id=1), "id repeats"),
    ("text_to_image", lambda row: row.update(caption=" "), "caption empty"),
    ("text_to_image", lambda row: row.update(caption=None), "caption empty"),
    ("image_captions", lambda row: row.update(caption=3), "caption is no text"),
    ("region_chat", lambda row: row.update(regions=[]), "record without regions"),
    ("region_chat", lambda row: row.update(regions=[3]), "region is no object"),
    ("region_chat", lambda row: row["regions"].pop(), "region unknown"),
    ("region_chat", lambda row: row["regions"][0].update(bbox=[0, 0, 0, 9]), "box of no area"),
]


@pytest.mark.parametrize(("kind", "break_it", "reason"), RECORDS)
def test_a_bad_record_of_a_list_is_named_and_skipped(tmp_path, kind, break_it, reason):
    path = Path(write_sets(tmp_path)[kind]["annotations"])
    rows = json.loads(path.read_text())
    break_it(rows[0])
    count = len(rows)
    source = read(tmp_path, rows, kind)
    (loss,) = source.report.losses
    assert reason in loss.reason and loss.count == 1 and len(source) == count - 1
    with pytest.raises(InputError, match=reason):
        read(tmp_path, rows, kind, strict=True)


@pytest.mark.parametrize("name", ["referring", "region_captions"])
def test_an_empty_caption_is_named_and_skipped(tmp_path, name):
    path = Path(write_sets(tmp_path)[name]["annotations"])
    document = json.loads(path.read_text())
    field = "expressions" if name == "referring" else "captions"
    document["annotations"][0][field] = ["", " "]
    (loss,) = read(tmp_path, document, name).report.losses
    assert "empty" in loss.reason and loss.count == 1


BAD_PHRASES = [
    (lambda rows, images: images[1].update(caption=" "), "caption empty"),
    (lambda rows, images: images[1].update(caption=3), "caption is no text"),
    (lambda rows, images: rows[1].update(tokens_positive=[[2, 900]]), "outside of its caption"),
    (lambda rows, images: rows[1].update(tokens_positive=[[5, 5]]), "no list of [start, end]"),
    (lambda rows, images: rows[1].update(tokens_positive="ab"), "no list of [start, end]"),
]


@pytest.mark.parametrize(("break_it", "reason"), BAD_PHRASES)
def test_a_bad_grounded_caption_is_named_and_skipped(tmp_path, break_it, reason):
    path = Path(write_sets(tmp_path)["grounded_captions"]["annotations"])
    document = json.loads(path.read_text())
    break_it(document["annotations"], document["images"])
    (loss,) = read(tmp_path, document, "grounded_captions").report.losses
    assert reason in loss.reason and loss.count == 1 and "1" in loss.names[0]
    with pytest.raises(InputError, match=re.escape(reason)):
        read(tmp_path, document, "grounded_captions", strict=True)


def test_annotations_without_an_expression_are_no_records(tmp_path):
    document = make_coco(tmp_path, 6)
    for number in (1, 4):
        document["annotations"][number]["expressions"] = [f"the thing {number}"]
    source = read(tmp_path, document, "referring")
    texts = [source.sample(one, np.random.default_rng(0)).rounds[0][0] for one in range(2)]
    assert len(source) == 2 and "thing 1" in texts[0] and "thing 4" in texts[1]
    expected = len(document["annotations"]) - 2
    assert source.report.notes["annotations without an expression that are skipped"] == expected
    assert not source.report.losses


def test_bad_label_images_are_named_and_skipped(tmp_path):
    write_sets(tmp_path)
    (tmp_path / "labels" / "scene1.png").unlink()
    (tmp_path / "images" / "scene2.png").unlink()
    (tmp_path / "labels" / "scene3.png").write_bytes(b"nothing")
    (tmp_path / "labels" / "scene4.png").write_bytes(
        (tmp_path / "images" / "scene4.png").read_bytes()
    )
    source = read_source({"kind": "label_images", "annotations": "labels"}, tmp_path)
    check_source(source, examples=0)
    assert {one.reason for one in source.report.losses} == {
        "label image missing",
        "image missing",
        "label image cannot be read",
    }
    (tmp_path / "classes.txt").write_text("mug\nmug\n")
    with pytest.raises(ConfigError, match="different names"):
        read_source({"kind": "label_images", "annotations": "labels"}, tmp_path)
    (tmp_path / "classes.txt").write_text("mug\n\nbowl\n")
    with pytest.raises(ConfigError, match="without blank lines"):
        read_source({"kind": "label_images", "annotations": "labels"}, tmp_path)
