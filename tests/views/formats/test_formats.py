"""Each format as its own readers take it."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from vl2_ros.errors import InputError
from vl2_ros.evaluation.coco.tool import CocoKind, score_coco
from vl2_ros.structures import (
    Branch,
    Detections,
    Keypoints,
    MaskCrop,
    Masks,
    Result,
    Route,
    RunLengths,
)
from vl2_ros.views.answer_document import AnswerSource, describe_answer
from vl2_ros.views.formats.coco import compress_rle
from vl2_ros.views.formats.outlines import trace_outline
from vl2_ros.views.formats.writer import FORMATS, Entry, make_writer
from vl2_ros.views.formats.yolo import name_label

IMAGE_HW = (40, 80)


def make_entry(image="a/table.jpg", labels=("mug", "red bowl"), *, keypoints=None) -> Entry:
    masks = np.zeros((2, *IMAGE_HW), bool)
    masks[0, 10:20, 20:40] = True
    masks[1, 5:10, 50:60] = True
    masks[1, 30:32, 70:72] = True  # a second, smaller part
    boxes = np.array([[20, 10, 40, 20], [50, 5, 72, 32]], np.float32)
    detections = Detections(
        boxes,
        np.array([0.75, 0.5], np.float32),
        np.array([0, 1]),
        labels,
        Masks.cut(masks),
        keypoints,
        track_ids=np.array([3, 0]),
    )
    branch = Branch(Route.SEGMENT, labels, detections)
    result = Result("", 7, "camera", 'Segmented: "mug", red bowl.', (branch,))
    document = describe_answer(result, AnswerSource("segment, all", image), with_masks=True)
    return Entry(image, IMAGE_HW, result, document)


def make_text() -> Entry:
    result = Result("", 7, "camera", "Yes.")
    document = describe_answer(result, AnswerSource("is it?", "b.jpg"), with_masks=True)
    return Entry("b.jpg", IMAGE_HW, result, document)


def write(name: str, *entries: Entry, with_masks: bool = False) -> str:
    file = io.StringIO()
    writer = make_writer(name, file, with_masks=with_masks)
    for entry in entries:
        writer.add(entry)
    writer.close()
    return file.getvalue()


class TestCoco:
    def test_document(self):
        other = make_entry("b.jpg", ("red bowl", "cup"))
        document = json.loads(write("coco", make_entry(), other, make_entry(), with_masks=True))
        assert [row["file_name"] for row in document["images"]] == ["a/table.jpg", "b.jpg"]
        assert document["images"][0] == {
            "id": 1,
            "file_name": "a/table.jpg",
            "width": 80,
            "height": 40,
        }
        assert [row["name"] for row in document["categories"]] == ["mug", "red bowl", "cup"]
        rows = document["annotations"]
        assert [row["id"] for row in rows] == [1, 2, 3, 4, 5, 6]
        assert [row["image_id"] for row in rows] == [1, 1, 2, 2, 1, 1]
        assert [row["category_id"] for row in rows] == [1, 2, 2, 3, 1, 2]
        assert rows[0]["bbox"] == [20, 10, 20, 10] and rows[0]["score"] == 0.75
        decoded = coco_mask.decode(rows[1]["segmentation"]).astype(bool)
        np.testing.assert_array_equal(decoded, make_entry().result.branches[0].detections.masks[1])
        assert rows[1]["area"] == 54

    def test_without_masks_there_is_no_segmentation(self):
        (first, _) = json.loads(write("coco", make_entry()))["annotations"]
        assert "segmentation" not in first and first["area"] == 200

    def test_keypoints_and_their_skeleton(self):
        points = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], np.float32)
        keypoints = Keypoints(("left eye", "nose"), points, np.ones((2, 2), np.float32), ((0, 1),))
        document = json.loads(write("coco", make_entry(labels=("cat", "cat"), keypoints=keypoints)))
        assert document["categories"] == [
            {"id": 1, "name": "cat", "keypoints": ["left eye", "nose"], "skeleton": [[1, 2]]}
        ]
        assert document["annotations"][1]["keypoints"] == [5, 6, 2, 7, 8, 2]

    @pytest.mark.parametrize("kind", [CocoKind.BOXES, CocoKind.MASKS])
    def test_round_trip_scores_one(self, kind, tmp_path):
        """Ids differ from the truth's, names do not."""
        truth = json.loads(write("coco", make_entry("b.jpg"), make_entry(), with_masks=True))
        found = tmp_path / "found.json"
        found.write_text(write("coco", make_entry(), make_entry("b.jpg"), with_masks=True))
        assert score_coco(truth, found, kind).by_name["AP_all"] == 1.0
        half = tmp_path / "half.json"
        half.write_text(write("coco", make_entry(), with_masks=True))
        assert 0.4 < score_coco(truth, half, kind).by_name["AP_all"] < 0.6

    def test_annotations_without_scores_are_no_results(self, tmp_path):
        truth = json.loads(write("coco", make_entry()))
        plain = json.loads(json.dumps(truth))
        del plain["annotations"][0]["score"]
        (tmp_path / "plain.json").write_text(json.dumps(plain))
        with pytest.raises(InputError, match="has no score; expected what `vl2 ask --format coco`"):
            score_coco(truth, tmp_path / "plain.json", CocoKind.BOXES)

    @given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 500))
    def test_compressed_runs_are_the_tools_own(self, height, width, seed):
        rng = np.random.default_rng(seed)
        mask = rng.random((height, width)) < rng.random() ** 3
        encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert compress_rle(RunLengths.encode(mask)) == {
            "size": [height, width],
            "counts": encoded["counts"].decode("ascii"),
        }

    def test_long_runs(self):
        mask = np.zeros((2000, 900), bool)
        mask[:, 500:700] = True
        encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert compress_rle(RunLengths.encode(mask))["counts"] == encoded["counts"].decode("ascii")


class TestYolo:
    def test_boxes(self, tmp_path):
        folder = tmp_path / "out"
        writer = make_writer("yolo", folder)
        for entry in (make_entry(), make_entry("b.jpg", ("red bowl", 'a: "cup"')), make_text()):
            writer.add(entry)
        writer.close()
        lines = (folder / "labels" / "table.txt").read_text().splitlines()
        assert lines[0] == "0 0.375000 0.375000 0.250000 0.250000"
        assert lines[1].startswith("1 ")
        data = yaml.safe_load((folder / "data.yaml").read_text())
        assert data["names"] == {0: "mug", 1: "red bowl", 2: 'a: "cup"'}
        assert [line[0] for line in (folder / "labels" / "b.txt").read_text().splitlines()] == [
            "1",
            "2",
        ]

    def test_any_label_is_yaml(self, tmp_path):
        labels = ('caf\u00e9 "\U0001f600"', "a\n\u2028\x7f: 'b'\\")
        writer = make_writer("yolo", tmp_path / "out")
        writer.add(make_entry(labels=labels))
        writer.close()
        data = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text(encoding="utf-8"))
        assert tuple(data["names"].values()) == labels

    @pytest.mark.parametrize(
        ("image", "name"),
        [
            ("a/b.table.jpg", "b.table"),
            ("clip.mp4@1.200s", "clip.mp4@1.200s"),
            ("stack.npy[0]", "stack.npy[0]"),
            ("a/.jpg", ".jpg"),
        ],
    )
    def test_name_of_the_label_file(self, image, name):
        assert name_label(image) == name

    def test_an_image_without_instances_has_an_empty_file(self, tmp_path):
        make_writer("yolo", tmp_path / "out").add(make_text())
        assert (tmp_path / "out" / "labels" / "b.txt").read_text() == ""

    def test_outlines(self, tmp_path):
        make_writer("yolo", tmp_path / "out", with_masks=True).add(make_entry())
        first, second = (tmp_path / "out" / "labels" / "table.txt").read_text().splitlines()
        points = np.array(first.split()[1:], float).reshape(-1, 2) * [80, 40]
        np.testing.assert_allclose(points.min(0), [20.5, 10.5], atol=1e-3)
        np.testing.assert_allclose(points.max(0), [39.5, 19.5], atol=1e-3)
        # The larger part alone.
        assert (np.array(second.split()[1:], float).reshape(-1, 2)[:, 0] * 80 < 61).all()

    def test_images_that_would_share_a_file(self, tmp_path):
        writer = make_writer("yolo", tmp_path / "out")
        writer.add(make_entry())
        writer.add(make_entry())
        assert len((tmp_path / "out" / "labels" / "table.txt").read_text().splitlines()) == 4
        with pytest.raises(InputError, match=r"would share labels/table.txt"):
            writer.add(make_entry("b/table.png"))

    def test_labels_that_are_there_are_kept(self, tmp_path):
        make_writer("yolo", tmp_path).add(make_entry())
        with pytest.raises(InputError, match="holds labels already"):
            make_writer("yolo", tmp_path)


class TestLabelStudio:
    def test_boxes_in_percent(self):
        first, second = json.loads(write("labelstudio", make_entry(), make_text()))
        assert first["data"] == {"image": "a/table.jpg", "command": "segment, all"}
        region = first["predictions"][0]["result"][0]
        assert region["value"] == {
            "x": 25.0,
            "y": 25.0,
            "width": 25.0,
            "height": 25.0,
            "rotation": 0,
            "rectanglelabels": ["mug"],
        }
        assert (region["original_width"], region["original_height"]) == (80, 40)
        assert [one["id"] for one in first["predictions"][0]["result"]] == ["0", "1"]
        assert second["predictions"][0]["result"] == []

    def test_outlines(self):
        (task,) = json.loads(write("labelstudio", make_entry(), with_masks=True))
        region = task["predictions"][0]["result"][0]
        assert region["type"] == "polygonlabels" and region["from_name"] == "outline"
        assert np.ptp(region["value"]["points"], axis=0).round(1).tolist() == [23.8, 22.5]

    def test_nothing_is_an_empty_list(self):
        assert json.loads(write("labelstudio")) == []


class TestCsv:
    def test_rows(self):
        rows = list(csv.DictReader(io.StringIO(write("csv", make_entry(), make_text()))))
        assert [row["label"] for row in rows] == ["mug", "red bowl", ""]
        assert rows[0]["command"] == "segment, all"
        assert rows[0]["text"] == 'Segmented: "mug", red bowl.'
        assert [float(rows[1][name]) for name in ("x1", "y1", "x2", "y2")] == [50, 5, 72, 32]
        assert [row["track_id"] for row in rows] == ["3", "", ""]
        assert rows[2]["text"] == "Yes." and rows[2]["score"] == ""


def test_json_lines_are_the_documents():
    entries = make_entry(), make_text()
    lines = write("json", *entries).splitlines()
    assert [json.loads(line) for line in lines] == [entry.document for entry in entries]


def test_other_formats_and_targets_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected one of json, coco, yolo, labelstudio, csv"):
        make_writer("voc", io.StringIO())
    with pytest.raises(InputError, match="yolo is a folder of files; name one"):
        make_writer("yolo", io.StringIO())
    with pytest.raises(InputError, match="csv is one file"):
        make_writer("csv", tmp_path)
    assert set(FORMATS) == {"json", "coco", "yolo", "labelstudio", "csv"}


def test_outline_of_nothing_has_no_points():
    assert len(trace_outline(MaskCrop.empty())) == 0
