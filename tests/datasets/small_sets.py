"""Small labelled sets of every kind, written into a folder."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vl2_ros.datasets.household.shards import INSTANCES, OBJECTS, RGB
from vl2_ros.datasets.reading.tar_shards import write_shards
from vl2_ros.sim.household.kinds import HOUSEHOLD_KINDS

SIZE_HW = (60, 80)
NAMES = ("mug", "Bowl", "cube")
KEYPOINTS = ("left_eye", "right_eye", "tail tip")
COLORS = ((200, 30, 30), (30, 160, 60), (40, 60, 210))

Document = dict[str, Any]


def draw_scene(number: int) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """Return an image and (class, box [x, y, w, h]) of the rectangles on it."""
    rng = np.random.default_rng(number)
    rgb = np.full((*SIZE_HW, 3), 120, np.uint8)
    objects = []
    for place in range(1 + number % 3):
        kind = int(rng.integers(3))
        x, y = 2 + 26 * place, int(rng.integers(2, 30))
        w, h = int(rng.integers(10, 22)), int(rng.integers(10, 26))
        rgb[y : y + h, x : x + w] = COLORS[kind]
        objects.append((kind, [x, y, w, h]))
    return rgb, objects


def outline(box: list[int]) -> list[list[float]]:
    x, y, w, h = (float(one) for one in box)
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def make_coco(folder: Path, count: int = 6) -> Document:
    """Write images, and return their COCO document, with masks, keypoints and captions."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    document: Document = {"images": [], "annotations": [], "categories": []}
    for number in range(count):
        rgb, objects = draw_scene(number)
        name = f"scene{number}.png"
        Image.fromarray(rgb).save(folder / "images" / name)
        document["images"].append(
            {"id": number, "file_name": name, "height": SIZE_HW[0], "width": SIZE_HW[1]}
        )
        for kind, box in objects:
            x, y, w, h = box
            document["annotations"].append(
                {
                    "id": len(document["annotations"]),
                    "image_id": number,
                    "category_id": kind + 1,
                    "bbox": box,
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": outline(box),
                }
            )
    document["categories"] = [{"id": n + 1, "name": name} for n, name in enumerate(NAMES)]
    return document


def add_keypoints(document: Document) -> Document:
    for row in document["annotations"]:
        x, y, w, h = row["bbox"]
        row["keypoints"] = [x, y, 2, x + w, y, 2, x + w / 2, y + h, row["id"] % 3]
    for category in document["categories"]:
        category["keypoints"] = list(KEYPOINTS)
    return document


def add_expressions(document: Document, name: str = "expressions") -> Document:
    for row in document["annotations"]:
        kind = NAMES[row["category_id"] - 1]
        row[name] = [f"the {kind} at {row['bbox'][0]}", f"The other {kind}."]
    return document


def add_phrases(document: Document) -> Document:
    """Give each image a caption in which every class of it is one phrase."""
    for image in document["images"]:
        rows = [row for row in document["annotations"] if row["image_id"] == image["id"]]
        spans: dict[int, list[int]] = {}
        caption = "There are"
        for kind in sorted({row["category_id"] for row in rows}):
            caption += " a " if kind == rows[0]["category_id"] else ", and a "
            start = len(caption)
            caption += f"small {NAMES[kind - 1]}"
            spans[kind] = [start, len(caption)]
        image["caption"] = f"{caption} on\na table."
        for row in rows:
            row["tokens_positive"] = [spans[row["category_id"]]]
    return document


def write_json(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def write_sets(folder: Path) -> dict[str, Document]:
    """Write a set of each kind; return the settings that open it, by kind."""
    coco = write_json(folder / "coco.json", make_coco(folder))
    keypoints = write_json(folder / "keypoints.json", add_keypoints(make_coco(folder)))
    referring = write_json(folder / "referring.json", add_expressions(make_coco(folder)))
    captions = write_json(folder / "captions.json", add_expressions(make_coco(folder), "captions"))
    phrases = write_json(folder / "phrases.json", add_phrases(make_coco(folder)))
    images = [f"scene{number}.png" for number in range(6)]
    talk = [
        {"from": "human", "value": "<image>\nWhat is here?"},
        {"from": "gpt", "value": "Some shapes."},
        {"from": "human", "value": "How many?"},
        {"from": "gpt", "value": "A few."},
    ]
    chat = [{"id": n, "image": name, "conversations": talk} for n, name in enumerate(images)]
    chat.append({"id": "text", "conversations": talk})
    regions = [
        {
            "image": name,
            "regions": [{"bbox": [2, 2, 20, 20]}, {"segmentation": outline([30, 5, 20, 20])}],
            "conversations": [
                {"from": "human", "value": "Is region 2 larger than region 1?"},
                {"from": "gpt", "value": "No, region 1 is as large."},
            ],
        }
        for name in images
    ]
    pairs = [{"image": name, "caption": f"Shapes, number {n}."} for n, name in enumerate(images)]
    edits = [
        {"source": one, "target": other, "instruction": "Move the shapes!"}
        for one, other in zip(images, images[1:], strict=False)
    ]
    write_labels(folder)
    return {
        "coco_instances": {"annotations": str(coco)},
        "coco_keypoints": {"annotations": str(keypoints)},
        "referring": {"annotations": str(referring)},
        "chat": {"annotations": str(write_json(folder / "chat.json", chat))},
        "region_captions": {"annotations": str(captions)},
        "region_chat": {"annotations": str(write_json(folder / "regions.json", regions))},
        "label_images": {"annotations": str(folder / "labels")},
        "interactive": {"annotations": str(coco)},
        "in_context": {"annotations": str(coco)},
        "in_context_text": {"annotations": str(captions)},
        "grounded_captions": {"annotations": str(phrases)},
        "text_to_image": {"annotations": str(write_json(folder / "pairs.json", pairs))},
        "image_captions": {"annotations": str(folder / "pairs.json")},
        "edits": {"annotations": str(write_lines(folder / "edits.jsonl", edits))},
        "simulator": {"seeds": [0, 4]},
        "household": {"path": str(write_household(folder / "household"))},
    }


def write_lines(path: Path, rows: list[Document]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_labels(folder: Path) -> None:
    """Write label images of the scenes: 255 where nothing is labelled."""
    (folder / "labels").mkdir(exist_ok=True)
    for number in range(6):
        values = np.full(SIZE_HW, 255, np.uint8)
        for kind, (x, y, w, h) in draw_scene(number)[1]:
            values[y : y + h, x : x + w] = kind
        Image.fromarray(values).save(folder / "labels" / f"scene{number}.png")
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")


def write_household(folder: Path, scale: int = 1) -> Path:
    """Write the scenes as shards of household scenes, without rendering any; larger by `scale`."""
    records = []
    for number in range(6):
        rgb, drawn = draw_scene(number)
        instances = np.zeros(SIZE_HW, np.uint8)
        objects = []
        for index, (kind, (x, y, w, h)) in enumerate(drawn, start=1):
            instances[y : y + h, x : x + w] = index
            objects.append(
                {
                    "kind": HOUSEHOLD_KINDS[kind],
                    "color": "",
                    "box_xyxy": [scale * one for one in (x, y, x + w, y + h)],
                    "visible_pixels": w * h * scale**2,
                    "visible_share": 1.0,
                    "keypoints": {},
                }
            )
        parts = {OBJECTS: json.dumps(objects).encode()}
        for name, pixels, form in ((RGB, rgb, "JPEG"), (INSTANCES, instances, "PNG")):
            stream = io.BytesIO()
            Image.fromarray(pixels.repeat(scale, 0).repeat(scale, 1)).save(stream, form)
            parts[name] = stream.getvalue()
        records.append((f"{number:08d}", parts))
    write_shards(folder, records)
    return folder
