"""`vl2 train finetune`: a COCO file becomes sources, held-out scores, and a checkpoint."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import make_json_tokenizer
from tests.training.conversations.small_sources import (
    PROCESSING,
    draw_scene,
    make_network,
    make_poses,
)
from vl2_ros.api import load
from vl2_ros.cli import EXTRAS
from vl2_ros.console.training.train_command import train
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.evaluation.held_out import HeldOutScores
from vl2_ros.model.checkpoint.folder import load_model, save_model
from vl2_ros.model.pose.decoder import PoseDecoder
from vl2_ros.model.pose.extension import extend_with_poses
from vl2_ros.training.conversations.finetune import (
    complete_recipe,
    prepare_data,
    split_document,
)
from vl2_ros.training.loop.log import read_log
from vl2_ros.training.loop.state import STATE_FILE
from vl2_ros.training.recipes.reading import read_recipe

NAMES = ("red square", "blue square")
POINTS = ["left_edge", "right_edge", "middle"]


def write_coco(folder, count=10, first=0, keypoints=False, masks=False):
    """Write a COCO file of scenes and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    images, rows = [], []
    for index in range(first, first + count):
        rgb, boxes, _ = draw_scene(index)
        name = f"{index}.png"
        Image.fromarray(rgb).save(folder / "images" / name)
        images.append({"id": index, "file_name": name, "height": 80, "width": 120})
        points = make_poses(boxes, np.arange(2)).keypoints_xy
        for number, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            row = {
                "id": 2 * index + number + 1,
                "image_id": index,
                "category_id": number + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            if keypoints:
                row["keypoints"] = [
                    value for x, y in points[number].tolist() for value in (x, y, 2)
                ]
                row["num_keypoints"] = 3
            if masks:
                row["segmentation"] = [[x1, y1, x2, y1, x2, y2, x1, y2]]
            rows.append(row)
    categories = [
        {"id": number + 1, "name": name} | ({"keypoints": POINTS} if keypoints else {})
        for number, name in enumerate(NAMES)
    ]
    path = folder / f"labels_{first}.json"
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small checkpoint without a pose decoder."""
    folder = tmp_path_factory.mktemp("init")
    tokenizer = make_json_tokenizer(folder)
    network = make_network(tokenizer, with_pose=False, with_images=False)
    save_model(network, folder, dtype=torch.float32)
    PROCESSING.save(folder)
    return folder


def run(data, out, init, *changes, val=None):
    small = ["batch=2", "workers=0", "precision=float32", "lora.rank=2", *changes]
    train("finetune", small, out, data, None, val, init, "cpu")
    return [row for row in read_log(out) if "box_ap50" in row]


def test_the_command_scores_held_out_images_at_five_points(tmp_path, checkpoint):
    data = write_coco(tmp_path / "data", masks=True)
    rows = run(data, tmp_path / "out", checkpoint, "steps=5")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert all(0 <= row[name] <= 1 for row in rows for name in ("box_ap50", "mask_ap50"))
    model = load(tmp_path / "out" / "best")
    names = model.pipeline.detect(
        load_frame(tmp_path / "data" / "images" / "0.png"), NAMES
    ).detections.labels
    assert set(names) <= set(NAMES)


def load_frame(path):
    from vl2_ros.processing.images.image_file import read_image

    return read_image(path)


@pytest.mark.slow
def test_keypoints_bring_a_fresh_pose_decoder(tmp_path, checkpoint):
    data = write_coco(tmp_path / "data", keypoints=True)
    val = write_coco(tmp_path / "data", count=2, first=50, keypoints=True)
    rows = run(data, tmp_path / "out", checkpoint, "steps=5", val=val)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert all(0 <= row["pck"] <= 1 for row in rows)
    trained = load_model(tmp_path / "out" / "last")
    assert isinstance(trained.pose_decoder, PoseDecoder)
    # What is not named stays as it was.
    before = load_model(checkpoint).state_dict()
    after = trained.state_dict()
    for part in ("vision_encoder.", "projector.", "region_encoder."):
        kept = [name for name in before if name.startswith(part)]
        assert kept and all(torch.equal(before[name].half(), after[name].half()) for name in kept)


def test_the_rest_of_a_network_stays_when_a_pose_decoder_is_added(json_tokenizer):
    network = make_network(json_tokenizer, with_pose=False, with_images=False)
    extended = extend_with_poses(network)
    state, known = extended.state_dict(), network.state_dict()
    # Queries that no decoder has read yet begin as those of objects.
    table, objects = "super_link.pose.weight", "super_link.det.weight"
    assert torch.equal(state[table], known[objects])
    assert all(torch.equal(value, state[name]) for name, value in known.items() if name != table)
    assert any(name.startswith("pose_decoder.") for name in state)


def test_a_pose_decoder_needs_sizes(json_tokenizer):
    bare = make_network(json_tokenizer, with_detection=False, with_pose=False, with_images=False)
    with pytest.raises(ConfigError, match="takes its sizes from the detection decoder"):
        extend_with_poses(bare)


def test_a_split_parts_images_with_their_annotations():
    document = {
        "images": [{"id": index, "file_name": f"{index}.png"} for index in range(20)],
        "annotations": [{"id": index, "image_id": index % 20} for index in range(60)],
        "categories": [{"id": 1, "name": "cup"}],
    }
    kept, away = split_document(document, 0.1, seed=3)
    assert len(away["images"]) == 2 and len(kept["images"]) == 18
    for part in (kept, away):
        ids = {row["id"] for row in part["images"]}
        assert {row["image_id"] for row in part["annotations"]} == ids
        assert part["categories"] == document["categories"]
    assert len(kept["annotations"]) + len(away["annotations"]) == 60
    assert split_document(document, 0.1, seed=3) == (kept, away)
    assert split_document(document, 0.1, seed=4) != (kept, away)


def test_one_image_cannot_be_split():
    document = {"images": [{"id": 1}], "annotations": [], "categories": []}
    with pytest.raises(InputError, match="two images at least"):
        split_document(document, 0.1, seed=0)


def test_given_held_out_images_are_used_as_they_are(tmp_path):
    data = write_coco(tmp_path / "data")
    val = write_coco(tmp_path / "data", count=3, first=40)
    found = prepare_data(data, None, val, tmp_path / "out", seed=0)
    assert (found.train, found.held_out) == (data.resolve(), val.resolve())
    assert found.images == (tmp_path / "data" / "images").resolve()
    assert not (found.has_masks or found.has_keypoints)
    recipe = complete_recipe(read_recipe("finetune"), found)
    assert [source["held_out"] for source in recipe.sources] == [False, True]
    assert recipe.evaluation.every == recipe.steps // 5


def test_files_that_cannot_be_used_are_refused(tmp_path):
    data = write_coco(tmp_path / "data")
    with pytest.raises(InputError, match="no folder of images"):
        prepare_data(data, tmp_path / "nothing", None, tmp_path / "out", seed=0)
    data.write_text('{"images": []}')
    with pytest.raises(InputError, match="annotations"):
        prepare_data(data, None, None, tmp_path / "out", seed=0)


def test_held_out_images_need_annotations(tmp_path):
    data = write_coco(tmp_path / "data")
    bare = tmp_path / "data" / "bare.json"
    bare.write_text(json.dumps(json.loads(data.read_text()) | {"annotations": []}))
    with pytest.raises(InputError, match="10 held-out images has an annotation"):
        prepare_data(data, None, bare, tmp_path / "out", seed=0)


def test_data_goes_with_a_recipe_that_has_no_sources(tmp_path):
    data = write_coco(tmp_path / "data")
    found = prepare_data(data, None, None, tmp_path / "out", seed=0)
    recipe = complete_recipe(read_recipe("finetune"), found)
    with pytest.raises(ConfigError, match="no sources of its own"):
        complete_recipe(recipe, found)
    with pytest.raises(ConfigError, match="objective conversations"):
        complete_recipe(read_recipe("embedded_all"), found)


def test_images_without_data_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="go with --data"):
        train("finetune", [], tmp_path, None, tmp_path, None, None, "cpu")


def test_a_share_of_the_records_can_be_held_out(tmp_path, checkpoint):
    from vl2_ros.training.conversations.opening import open_mixtures

    data = write_coco(tmp_path / "data")
    recipe = read_recipe("finetune", ["options.held_out=0.2"])
    recipe = replace(recipe, sources=({"kind": "coco_instances", "annotations": str(data)},))
    mixture, held_out = open_mixtures(recipe)
    assert (len(mixture), len(held_out)) == (8, 2)

    def draw(one, count):
        numbers = range(count)
        return {one.sample(number, np.random.default_rng(0)).key for number in numbers}

    assert not draw(mixture, 8) & draw(held_out, 2)


def test_held_out_images_that_cannot_be_used_are_skipped_and_named(tmp_path, checkpoint, caplog):
    data = write_coco(tmp_path / "data", count=3)
    score = HeldOutScores(data, tmp_path / "data" / "images", checkpoint)
    network = load_model(checkpoint).float().eval()
    (tmp_path / "data" / "images" / "1.png").unlink()
    with torch.no_grad():
        assert 0 <= score(network, 1)["box_ap50"] <= 1
        score(network, 2)
    (line,) = [row.message for row in caplog.records if "is skipped" in row.message]
    assert "1.png" in line
    for name in ("0.png", "2.png"):
        (tmp_path / "data" / "images" / name).write_bytes(b"no image")
    with pytest.raises(InputError, match="none of the held-out images"), torch.no_grad():
        score(network, 3)


def test_a_missing_package_is_named_before_the_run(tmp_path, checkpoint, monkeypatch):
    data = write_coco(tmp_path / "data", count=3)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        run(data, tmp_path / "out", checkpoint, "steps=5")
    assert EXTRAS[caught.value.name] == "eval"
    assert not read_log(tmp_path / "out")


def test_other_data_does_not_resume_and_leaves_the_parts(tmp_path, checkpoint):
    data, out = write_coco(tmp_path / "data"), tmp_path / "out"
    run(data, out, checkpoint, "steps=1")
    before = {name: (out / name).read_bytes() for name in ("train.json", "held_out.json")}
    document = json.loads(data.read_text())
    data.write_text(json.dumps(document | {"images": document["images"][:-1]}))
    with pytest.raises(ConfigError, match=r"other data:\n  sha256 of --data: .* before, .* now"):
        run(data, out, checkpoint, "steps=1")
    with pytest.raises(ConfigError, match="seed: 0 before, 3 now"):
        prepare_data(data, None, None, out, seed=3)
    assert before == {name: (out / name).read_bytes() for name in before}
    (out / STATE_FILE).unlink()
    prepare_data(data, None, None, out, seed=0)
    assert len(json.loads((out / "train.json").read_text())["images"]) == 8


def test_parts_of_the_same_data_stay(tmp_path):
    data, out = write_coco(tmp_path / "data"), tmp_path / "out"
    prepare_data(data, None, None, out, seed=0)
    times = [(out / name).stat().st_mtime_ns for name in ("train.json", "held_out.json")]
    prepare_data(data, None, None, out, seed=0)
    assert times == [(out / name).stat().st_mtime_ns for name in ("train.json", "held_out.json")]


def test_rows_of_no_held_out_image_are_kept_for_the_report():
    odd = [{"id": 70, "image_id": 999}, "no object", {"id": 71, "image_id": [1]}, {"id": 72}]
    images = [{"id": index} for index in range(10)]
    document = {
        "images": [*images, {"id": [4]}, 5],
        "annotations": [*({"id": one, "image_id": one} for one in range(10)), *odd],
        "categories": [],
    }
    kept, away = split_document(document, 0.2, seed=0)
    assert len(away["images"]) == len(away["annotations"]) == 2
    assert all(one in kept["annotations"] for one in odd)
    assert kept["images"][-2:] == [{"id": [4]}, 5]
    assert len(kept["annotations"]) == 8 + len(odd)


def test_images_with_keypoints_are_on_both_sides():
    document = {
        "images": [{"id": index} for index in range(30)],
        "annotations": [
            {"id": index, "image_id": index, "category_id": 1}
            | ({"keypoints": [1, 2, 2]} if index in (4, 7) else {"keypoints": [0, 0, 0]})
            for index in range(30)
        ],
        "categories": [{"id": 1, "name": "cup", "keypoints": ["rim"]}],
    }
    for seed in range(5):
        kept, away = split_document(document, 0.1, seed=seed)
        assert len(away["images"]) == 3
        assert len({row["id"] for row in away["images"]} & {4, 7}) == 1


def test_held_out_images_without_keypoints_measure_boxes(tmp_path, caplog):
    data = write_coco(tmp_path / "data", keypoints=True)
    val = write_coco(tmp_path / "data", count=2, first=50)
    found = prepare_data(data, None, val, tmp_path / "out", seed=0)
    assert found.has_keypoints and not found.measures_keypoints
    assert "none of the 2 held-out images has keypoints" in caplog.text
    recipe = complete_recipe(read_recipe("finetune"), found)
    assert recipe.evaluation.best_by == "box_ap50" and "pose_decoder" in recipe.trained
    kinds = [source["kind"] for source in recipe.sources]
    assert kinds == ["coco_instances", "coco_instances", "coco_keypoints"]


@pytest.mark.parametrize(
    ("changes", "best", "trained"),
    [
        ((), "pck", True),
        (("evaluation.best_by=box_ap",), "box_ap", True),
        (("evaluation.best_by=box_ap50",), "box_ap50", True),
        (("trained=[llm]",), "pck", False),
    ],
)
def test_what_is_changed_stays_beside_keypoints(tmp_path, changes, best, trained):
    data = write_coco(tmp_path / "data", keypoints=True)
    found = prepare_data(data, None, None, tmp_path / "out", seed=0)
    recipe = complete_recipe(read_recipe("finetune", changes), found, changes)
    assert recipe.evaluation.best_by == best
    assert ("pose_decoder" in recipe.trained) is trained


def test_epochs_are_measured_at_five_points(tmp_path, monkeypatch):
    data = write_coco(tmp_path / "data", count=40)
    found = prepare_data(data, None, None, tmp_path / "out", seed=0)
    assert found.records == 36
    changes = ["steps=0", "epochs=10", "batch=2", "accumulation=2"]
    assert complete_recipe(read_recipe("finetune", changes), found).evaluation.every == 18
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert complete_recipe(read_recipe("finetune", changes), found).evaluation.every == 6


def test_what_is_not_measured_is_named(tmp_path, checkpoint, caplog):
    data = write_coco(tmp_path / "data", count=4)
    document = json.loads(data.read_text())
    document["annotations"].append({"id": 90, "image_id": 77, "category_id": 1})
    data.write_text(json.dumps(document))
    HeldOutScores(data, tmp_path / "data" / "images", checkpoint, most_images=3)
    bad, most = caplog.messages
    assert "rows that are not measured: 1: annotation 90: its image 77 is not listed" in bad
    assert "the first 3 of 4 images are measured" in most
