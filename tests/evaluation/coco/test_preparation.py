"""Documents of various tools score as clean ones do with pycocotools, or are refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import mask as mask_codec
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vl2_ros.cli import main
from vl2_ros.errors import InputError
from vl2_ros.evaluation.coco.tool import CocoKind, score_coco
from vl2_ros.structures import Branch, Detections, Masks, Result, Route
from vl2_ros.views.result_json import encode_rle, result_to_json

HEIGHT, WIDTH = 160, 240
KINDS = ("mug", "bowl", "cube")
TWELVE = (
    *("AP_all", "AP_50", "AP_75", "AP_small", "AP_medium", "AP_large"),
    *("AR_all", "AR_second", "AR_third", "AR_small", "AR_medium", "AR_large"),
)
Document = dict[str, Any]
Rows = list[dict[str, Any]]


def draw_mask(box: tuple[int, int, int, int], shape: int) -> np.ndarray:
    """A rectangle, an ellipse or a frame with a hole."""
    x, y, width, height = box
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    mask = (rows >= y) & (rows < y + height) & (columns >= x) & (columns < x + width)
    across = (columns - x - width / 2 + 0.5) / (width / 2)
    down = (rows - y - height / 2 + 0.5) / (height / 2)
    if shape == 1:
        mask &= across**2 + down**2 <= 1
    if shape == 2:
        mask &= np.maximum(abs(across), abs(down)) > 0.4
    return mask


def compress(mask: np.ndarray) -> Document:
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def box_of(mask: np.ndarray) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [float(columns[0]), float(rows[0]), float(np.ptp(columns) + 1), float(np.ptp(rows) + 1)]


@pytest.fixture(scope="module")
def scenes() -> list[tuple[list[tuple[int, np.ndarray, int]], list[tuple[int, np.ndarray, float]]]]:
    """Of each image: (class, mask, is crowd) there and (class, mask, score) found."""
    rng = np.random.default_rng(5)
    made = []
    for _ in range(8):
        there, found = [], []
        for _ in range(5):
            width, height = (int(side) for side in rng.choice([14, 24, 48, 70, 118], 2))
            corner = int(rng.integers(WIDTH - width)), int(rng.integers(HEIGHT - height))
            class_id, shape = int(rng.integers(3)), int(rng.integers(3))
            mask = draw_mask((*corner, width, height), shape)
            there.append((class_id, mask, int(rng.random() < 0.08)))
            if rng.random() < 0.85:
                moved = np.roll(mask, rng.integers(-4, 5, 2), (0, 1))
                said = class_id if rng.random() < 0.85 else int(rng.integers(3))
                # Few different scores, so that there are ties.
                found.append((said, moved, float(rng.integers(4, 10)) / 10))
        made.append((there, found))
    return made


@pytest.fixture
def clean(scenes: Any) -> tuple[Document, Rows]:
    truth: Document = {
        "images": [
            {"id": n, "height": HEIGHT, "width": WIDTH, "file_name": f"seen/{n:04d}.png"}
            for n in range(1, len(scenes) + 1)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(KINDS, 1)],
        "annotations": [],
    }
    rows = []
    for image, (there, found) in enumerate(scenes, 1):
        for class_id, mask, is_crowd in there:
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": image,
                    "category_id": class_id + 1,
                    "bbox": box_of(mask),
                    "segmentation": compress(mask),
                    "area": float(mask.sum()),
                    "iscrowd": is_crowd,
                }
            )
        for class_id, mask, score in found:
            row = {"image_id": image, "category_id": class_id + 1, "score": score}
            rows.append(row | {"bbox": box_of(mask), "segmentation": compress(mask)})
    return truth, rows


def keep_shape(rows: Rows, kind: CocoKind) -> Rows:
    dropped = "bbox" if kind is CocoKind.MASKS else "segmentation"
    return [{key: value for key, value in row.items() if key != dropped} for row in rows]


def count_with_pycocotools(truth: Document, rows: Rows, kind: CocoKind) -> list[float]:
    truth, rows = copy.deepcopy((truth, rows))
    coco = COCO()
    coco.dataset = truth
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(rows), kind.value)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return [float(number) for number in evaluation.stats]


def count(truth: Any, rows: Any, kind: CocoKind) -> list[float]:
    by_name = score_coco(truth, rows, kind).by_name
    return [by_name[name] for name in TWELVE]


BOTH = pytest.mark.parametrize("kind", [CocoKind.BOXES, CocoKind.MASKS], ids=lambda kind: kind.name)


@BOTH
def test_clean_documents_are_counted_as_pycocotools_counts(clean, kind):
    truth, rows = clean[0], keep_shape(clean[1], kind)
    reference = count_with_pycocotools(truth, rows, kind)
    assert 0.2 < reference[0] < 0.95 and min(reference) >= 0 and len(set(reference)) > 8
    assert count(truth, rows, kind) == pytest.approx(reference, abs=1e-9)
    # Both shapes in one row: the box then gives the size, as in pycocotools.
    reference = count_with_pycocotools(*clean, kind)
    assert count(*clean, kind) == pytest.approx(reference, abs=1e-9)


def every_row(truth: Document, rows: Rows) -> Rows:
    return [*truth["images"], *truth["categories"], *truth["annotations"], *rows]


def change_ids(change: Callable[[int], Any], *names: str) -> Callable[[Document, Rows], None]:
    def apply(truth: Document, rows: Rows) -> None:
        for row in every_row(truth, rows):
            row |= {name: change(row[name]) for name in names if name in row}

    return apply


def change_images(change: Callable[[int], Any]) -> Callable[[Document, Rows], None]:
    def apply(truth: Document, rows: Rows) -> None:
        for row in truth["images"]:
            row["id"] = change(row["id"])
        for row in [*truth["annotations"], *rows]:
            row["image_id"] = change(row["image_id"])

    return apply


def number_from_zero(truth: Document, rows: Rows) -> None:
    for row in truth["annotations"]:
        row["id"] -= 1


def number_alike(truth: Document, rows: Rows) -> None:
    for row in truth["annotations"]:
        row["id"] = 7


def drop(*names: str) -> Callable[[Document, Rows], None]:
    def apply(truth: Document, rows: Rows) -> None:
        for row in truth["annotations"]:
            for name in names:
                del row[name]

    return apply


def write_nulls(truth: Document, rows: Rows) -> None:
    truth["licenses"] = None
    for row in truth["annotations"]:
        row |= {"area": None, "keypoints": None, "caption": None}
    for row in rows:
        row |= {"keypoints": None, "area": None, "id": None}


def write_texts(truth: Document, rows: Rows) -> None:
    for row in rows:
        row["image_id"], row["category_id"] = str(row["image_id"]), f"{row['category_id']}.0"


def write_names(truth: Document, rows: Rows) -> None:
    for row in rows:
        row["category_id"] = KINDS[row["category_id"] - 1]


def write_captions(truth: Document, rows: Rows) -> None:
    for row in rows:
        row |= {"caption": "a mug", "iscrowd": 1, "ignore": 1, "id": 0}


def drop_categories(truth: Document, rows: Rows) -> None:
    del truth["categories"]


def write_bools(truth: Document, rows: Rows) -> None:
    for row in truth["annotations"]:
        row["iscrowd"] = bool(row["iscrowd"])


def decompress(truth: Document, rows: Rows) -> None:
    for row in [*truth["annotations"], *rows]:
        if "segmentation" in row:
            row["segmentation"] = encode_rle(mask_codec.decode(row["segmentation"]).astype(bool))


def add_unlisted(truth: Document, rows: Rows) -> None:
    extra = {"iscrowd": 0, "bbox": [1.0, 1.0, 50.0, 50.0], "area": 2500.0}
    extra["segmentation"] = compress(draw_mask((1, 1, 50, 50), 0))
    truth["annotations"] += [
        extra | {"id": 900, "image_id": 99, "category_id": 1},
        extra | {"id": 901, "image_id": 1, "category_id": 9},
    ]


@BOTH
@pytest.mark.parametrize(
    "spoil",
    [
        change_ids(float, "id", "image_id", "category_id"),
        change_ids(str, "id", "image_id", "category_id"),
        change_images(lambda number: f"{number:04d}_d"),
        change_images(lambda number: number - 1),
        change_images(lambda number: 2**52 + number),
        number_from_zero,
        number_alike,
        drop("id"),
        drop("area"),
        drop("bbox"),
        drop("area", "bbox"),
        write_nulls,
        write_texts,
        write_names,
        write_captions,
        write_bools,
        drop_categories,
        decompress,
        add_unlisted,
    ],
    ids=[
        *("float ids", "text ids", "image ids are words", "image ids from 0", "large image ids"),
        *("annotation ids from 0", "annotation ids alike", "no ids", "no area", "no bbox"),
        *("no area and bbox", "nulls", "numbers as texts", "category names", "captions"),
        *("bools", "no categories", "uncompressed", "annotations of what is not listed"),
    ],
)
def test_spoiled_documents_score_as_clean_ones(clean, kind, spoil):
    truth, rows = clean[0], keep_shape(clean[1], kind)
    reference = count_with_pycocotools(truth, rows, kind)
    spoil(truth, rows)
    before = copy.deepcopy((truth, rows))
    assert count(truth, rows, kind) == pytest.approx(reference, abs=1e-9)
    assert (truth, rows) == before


def test_no_crowd_flag_means_no_crowd(clean):
    truth, rows = clean[0], keep_shape(clean[1], CocoKind.BOXES)
    for row in truth["annotations"]:
        row["iscrowd"] = 0
    reference = count_with_pycocotools(truth, rows, CocoKind.BOXES)
    drop("iscrowd")(truth, rows)
    assert count(truth, rows, CocoKind.BOXES) == pytest.approx(reference, abs=1e-9)


def test_the_area_that_is_missing_is_that_of_the_mask_else_of_the_box(clean):
    truth, rows = clean[0], keep_shape(clean[1], CocoKind.BOXES)
    for row in truth["annotations"]:
        row["area"] = row["bbox"][2] * row["bbox"][3]
    reference = count_with_pycocotools(truth, rows, CocoKind.BOXES)
    drop("area", "segmentation")(truth, rows)
    assert count(truth, rows, CocoKind.BOXES) == pytest.approx(reference, abs=1e-9)


@pytest.mark.parametrize("has_size", [True, False])
def test_outlines_on_both_sides(clean, has_size):
    truth, rows = clean
    for row in [*truth["annotations"], *rows]:
        x, y, width, height = row["bbox"]
        roof = [x, y + height, x + width / 2, y, x + width, y + height]
        row["segmentation"] = [roof, [x, y, x + 8, y, x + 8, y + 9, x, y + 9]]
    reference_rows = copy.deepcopy(rows)
    for row in [*truth["annotations"], *reference_rows]:
        outlines = coco_mask.frPyObjects(row["segmentation"], HEIGHT, WIDTH)
        merged = coco_mask.merge(outlines)
        row["area"] = float(coco_mask.area(merged))
        if row in reference_rows:
            row["segmentation"] = merged
    kind = CocoKind.MASKS if has_size else CocoKind.BOXES
    reference = count_with_pycocotools(truth, keep_shape(reference_rows, kind), kind)
    drop("area")(truth, rows)
    if not has_size:
        # The areas of what is there are still those of the outlines.
        truth["images"] = [{"id": row["id"]} for row in truth["images"]]
    assert count(truth, keep_shape(rows, kind), kind) == pytest.approx(reference, abs=1e-9)


def test_masks_give_the_size_of_their_image(clean):
    truth, rows = clean[0], keep_shape(clean[1], CocoKind.MASKS)
    reference = count_with_pycocotools(truth, rows, CocoKind.MASKS)
    truth["images"] = [{"id": row["id"]} for row in truth["images"]]
    assert count(truth, rows, CocoKind.MASKS) == pytest.approx(reference, abs=1e-9)


def make_answers(scenes: Any) -> list[Document]:
    """What `vl2 ask seen/*.png ... --json --masks` prints."""
    answers = []
    for number, (_, found) in enumerate(scenes, 1):
        boxes = [box_of(mask) for _, mask, _ in found]
        detections = Detections(
            boxes_xyxy=np.array([[x, y, x + w, y + h] for x, y, w, h in boxes], np.float32),
            scores=np.array([score for *_, score in found], np.float32),
            class_ids=np.array([class_id for class_id, *_ in found]),
            labels=tuple(KINDS[class_id].title() for class_id, *_ in found),
            masks=Masks.cut(np.array([mask for _, mask, _ in found])),
        )
        result = Result("", 0, "", "", (Branch(Route.DETECT, KINDS, detections),))
        answers.append(
            {"image": f"/data/{number:04d}.png", **result_to_json(result, with_masks=True)}
        )
    return answers


@BOTH
def test_own_answers_score_as_pycocotools_counts_clean_rows(scenes, clean, kind, tmp_path, capsys):
    reference = count_with_pycocotools(clean[0], keep_shape(clean[1], kind), kind)
    truth, found = tmp_path / "truth.json", tmp_path / "answers.jsonl"
    truth.write_text(json.dumps(clean[0]))
    answers = make_answers(scenes)
    found.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["eval", "coco", str(truth), str(found), "--kind", kind.value, "--json"])
    assert end.value.code in (0, None)
    numbers = json.loads(capsys.readouterr().out)
    assert [numbers[name] for name in TWELVE] == pytest.approx(reference, abs=1e-9)
    # The same in one list, and identified by image ids.
    by_id = [answer | {"image": None, "image_id": n} for n, answer in enumerate(answers, 1)]
    found.write_text(json.dumps(by_id, indent=1))
    assert count(truth, found, kind) == pytest.approx(reference, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": "elsewhere.png"}, "answer 0 is about 'elsewhere.png'"),
        ({"image": None}, "image of answer 0 must be a text"),
        ({"instances": None}, "instances of answer 0 must be a list"),
        ({"instances": [{"label": "mug", "score": 0.5}]}, "no mask; ask with --masks"),
    ],
)
def test_answers_that_cannot_be_placed_are_refused_by_name(scenes, clean, change, said):
    answers = make_answers(scenes)
    answers[0] |= change
    with pytest.raises(InputError, match=said):
        score_coco(clean[0], answers, CocoKind.MASKS)


@pytest.fixture
def people() -> tuple[Document, Rows]:
    rng = np.random.default_rng(2)
    annotations, rows = [], []
    for number in range(1, 9):
        points = np.column_stack([rng.uniform(10, 200, (17, 2)), rng.integers(0, 3, 17)])
        points[:, :2][points[:, 2] == 0] = 0
        seen = points[points[:, 2] > 0, :2]
        box = [*seen.min(0).tolist(), *np.ptp(seen, axis=0).tolist()]
        person = {"image_id": 1 + number % 3, "category_id": 1}
        annotations.append(
            person
            | {"id": number, "keypoints": points.ravel().tolist(), "num_keypoints": len(seen)}
            | {"bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        )
        moved = points + [*rng.normal(0, 4, 2), 0]
        rows.append(person | {"keypoints": moved.ravel().tolist(), "score": 0.1 * number})
    truth = {"images": [{"id": n} for n in (1, 2, 3)], "categories": [{"id": 1, "name": "person"}]}
    return truth | {"annotations": annotations}, rows


@pytest.mark.parametrize(
    "names",
    [("num_keypoints",), ("area",), ("bbox", "area"), ("iscrowd",), ("id", "category_id")],
    ids=lambda names: " and ".join(names),
)
def test_what_keypoints_lack_is_computed(people, names):
    truth, rows = people
    reference = count_with_pycocotools(truth, rows, CocoKind.KEYPOINTS)[0]
    assert 0.1 < reference < 0.99
    drop(*names)(truth, rows)
    assert score_coco(truth, rows, CocoKind.KEYPOINTS).ap == pytest.approx(reference, abs=1e-9)


def test_people_without_keypoints_do_not_count(people):
    truth, rows = people
    unlabelled = {"id": 0, "image_id": 1, "category_id": 1, "bbox": [300.0, 1.0, 20.0, 20.0]}
    zeros = {"keypoints": [0] * 51, "num_keypoints": 0, "area": 400.0, "iscrowd": 0}
    marked = truth | {"annotations": [*truth["annotations"], unlabelled | zeros | {"id": 50}]}
    reference = count_with_pycocotools(marked, rows, CocoKind.KEYPOINTS)[0]
    truth["annotations"].append(unlabelled)
    assert score_coco(truth, rows, CocoKind.KEYPOINTS).ap == pytest.approx(reference, abs=1e-9)


def spoil_one(part: str, **change: Any) -> Callable[[Document, Rows], None]:
    """Change one row; a value of None takes the field away."""

    def apply(truth: Document, rows: Rows) -> None:
        row = rows[2] if part == "results" else truth[part][2]
        row |= change

    return apply


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_one("images", id=None), "image 2 has no id"),
        (spoil_one("categories", id=None), "category 2 has no id"),
        (spoil_one("annotations", image_id=None), "annotation 3 has no image_id"),
        (spoil_one("annotations", category_id=None), "annotation 3 has no category_id"),
        (spoil_one("annotations", segmentation=None), "annotation 3 has no segmentation"),
        (spoil_one("annotations", segmentation=[]), "annotation 3 has no segmentation"),
        (spoil_one("results", score=None), "result 2 has no score"),
        (spoil_one("results", category_id=None), "result 2 has no category_id"),
        (spoil_one("results", image_id="x"), "result 2 is of the image 'x'.*images: 1, 2, 3, 4, 5"),
        (spoil_one("results", segmentation=None), "result 2 has neither bbox nor segmentation"),
        (
            spoil_one("results", segmentation={"size": [2, 3], "counts": [2, 4]}),
            r"result 2 has a mask of \(2, 3\) for an image of \(160, 240\)",
        ),
        (lambda truth, rows: truth.pop("images"), "have no images"),
        (lambda truth, rows: truth.pop("annotations"), "have no annotations"),
        (lambda truth, rows: truth.update(images=[{"id": 70}]), "none of the 40 annotations"),
        (
            lambda truth, rows: [row.update(category_id="cup") for row in rows],
            "results is of a category of the annotations: 1, 2, 3; the first is of 'cup'",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(clean, spoil, said):
    truth, rows = clean[0], keep_shape(clean[1], CocoKind.MASKS)
    spoil(truth, rows)
    with pytest.raises(InputError, match=said):
        score_coco(truth, rows, CocoKind.MASKS)


def test_results_without_a_class_are_of_the_only_one(tmp_path: Path):
    box = {"image_id": 1, "bbox": [10.0, 10.0, 20.0, 20.0]}
    truth = {"images": [{"id": 1}], "annotations": [box]}
    assert score_coco(truth, [box | {"score": 0.5}], CocoKind.BOXES).ap == pytest.approx(1.0)
