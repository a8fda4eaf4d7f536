"""The front door: images and sentences in any form in, typed answers out."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vl2
from vl2_ros import api
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.recordings.bag import read_images
from vl2_ros.structures import (
    Branch,
    Detections,
    Keypoints,
    Masks,
    ModelInfo,
    Result,
    ResultEvent,
    Route,
    TextEvent,
)

SENTENCE = "find the red mug"


@pytest.fixture(scope="module")
def model() -> vl2.Model:
    return vl2.load(device="cpu")


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def frame() -> vl2.Frame:
    recording = EMBEDDED_WEIGHTS / "demo" / "tabletop.mcap"
    return next(iter(read_images(recording))).image.decode()


def encode(rgb: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


def test_every_kind_of_image_is_the_same_frame(rgb, tmp_path):
    path = tmp_path / "table.png"
    path.write_bytes(encode(rgb))
    images = (
        str(path),
        path,
        encode(rgb),
        bytearray(encode(rgb)),
        memoryview(encode(rgb)),
        Image.fromarray(rgb),
        rgb,
        rgb[..., ::-1][..., ::-1],
        vl2.Frame(rgb),
    )
    for image in images:
        frame = api.read_frame(image)
        assert frame is not None and np.array_equal(frame.rgb, rgb)
        assert frame.rgb.flags["C_CONTIGUOUS"]


def test_pillow_images_follow_the_rules_of_files(rgb):
    turned = Image.fromarray(rgb)
    turned.getexif()[0x0112] = 6
    assert api.read_frame(turned).frame_hw == (64, 48)
    clear = Image.fromarray(np.dstack([rgb, np.zeros((48, 64), np.uint8)]))
    assert (api.read_frame(clear).rgb == 255).all()
    grey = api.read_frame(Image.fromarray(rgb[..., 0]))
    assert np.array_equal(grey.rgb, np.dstack([rgb[..., 0]] * 3))


WRONG = {
    "no such file": (lambda rgb: "nothing.jpg", r"cannot read nothing\.jpg"),
    "folder": (lambda rgb: Path(__file__).parent, "cannot read"),
    "address": (lambda rgb: "https://example.org/a.jpg", "download it first"),
    "no image": (lambda rgb: b"%PDF-1.7", "not an image that can be read"),
    "grey": (lambda rgb: rgb[..., 0], r"grey becomes RGB by numpy\.dstack"),
    "alpha": (lambda rgb: np.dstack([rgb, rgb[..., 0]]), r"array\[\.\.\., :3\]"),
    "channels first": (lambda rgb: rgb.transpose(2, 0, 1), r"transpose\(1, 2, 0\)"),
    "floats": (lambda rgb: rgb / 255.0, r"array \* 255"),
    "batch": (lambda rgb: rgb[None], "one image a call"),
    "list": (lambda rgb: [rgb, rgb], r"Command\(images=\.\.\.\)"),
    "number": (lambda rgb: 3, "expected a path.*got int"),
    "nothing": (lambda rgb: None, "image"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_other_images_say_what_to_pass(model, rgb, kind):
    make, match = WRONG[kind]
    with pytest.raises(vl2.InputError, match=match):
        model(make(rgb), SENTENCE)


def test_tensors_say_how_they_become_an_image(model, rgb):
    torch = pytest.importorskip("torch")
    with pytest.raises(vl2.InputError, match="got Tensor; convert it"):
        model(torch.from_numpy(rgb), SENTENCE)


@pytest.mark.parametrize(
    ("command", "options", "match"),
    [
        ("", {}, "the command is empty"),
        (7, {}, "expected a sentence.*got int; the image comes first"),
        (SENTENCE, {"threshold": 0.5}, "score_threshold.*got threshold"),
        (SENTENCE, {"score_threshold": 2.0}, r"must lie in 0\.\.1"),
        (vl2.Command(SENTENCE), {"max_instances": 3}, "dataclasses.replace"),
    ],
)
def test_other_sentences_say_what_to_pass(model, rgb, command, options, match):
    with pytest.raises(vl2.InputError, match=match):
        model(rgb, command, **options)


def test_unknown_load_options_are_named():
    with pytest.raises(vl2.VL2Error, match="memory_budget_mb.*got devise"):
        vl2.load(devise="cpu")


def test_load_options_go_in_whole_or_by_name():
    whole = vl2.load(LoadOptions(device="cpu"), allow_fallback=False)
    assert whole.info.device == "cpu" and whole.info.name == "embedded"


def test_an_answer_about_a_frame(model, frame, tmp_path):
    answer = model(frame, "find the mug and the bowl", score_threshold=0.2)
    assert answer.text and answer.routes == (vl2.Route.DETECT,)
    detections = answer.detections
    assert len(detections.routes) == len(detections) > 0
    label = detections.labels[0]
    assert set(detections[label].labels) == {label}
    assert len(detections[detections.scores > 1.0]) == 0
    assert repr(answer).startswith("Answer(") and len(repr(answer)) < 500
    assert repr(model).startswith(f"Model(embedded, {model.info.backend} on cpu")

    written = answer.save(tmp_path / "overlay.png")
    assert written.overlay == tmp_path / "overlay.png"
    assert Image.open(tmp_path / "overlay.png").size[0] > 0
    assert Image.open(io.BytesIO(answer._repr_png_())).format == "PNG"
    document = json.loads(answer.save(tmp_path / "answer.json").document.read_text())
    assert document["text"] == answer.text and len(document["instances"]) == len(detections)
    with pytest.raises(vl2.InputError, match="cannot write"):
        answer.save(tmp_path / "none" / "overlay.png")


def test_a_stream_ends_with_the_result(model, rgb):
    events = list(model.stream(rgb, SENTENCE))
    assert any(isinstance(event, TextEvent) for event in events)
    assert isinstance(events[-1], ResultEvent)


def test_the_front_door_names_what_it_has():
    assert sorted(vl2.__all__) == vl2.__all__
    assert set(vl2.__all__) == {name for name in vars(vl2) if not name.startswith("_")}


def test_an_answer_without_frame_and_image_has_nothing_to_draw(tmp_path):
    info = ModelInfo("none", "", "torch", "cpu", ())
    answer = vl2.Answer(None, vl2.Command("draw a mug"), Result("", 0, "", "no"), info)
    assert answer._repr_png_() is None
    with pytest.raises(vl2.InputError, match="its words are in"):
        answer.save(tmp_path / "a.png")


def make_detections(labels: tuple[str, ...], **fields) -> Detections:
    count = len(labels)
    return Detections(
        boxes_xyxy=np.arange(4 * count, dtype=np.float32).reshape(count, 4),
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        class_ids=np.zeros(count, np.int64),
        labels=labels,
        **fields,
    )


def test_branches_are_joined_in_order_each_with_its_route():
    masks = Masks.cut(np.ones((2, 4, 5), np.bool_))
    points = Keypoints(("nose",), np.ones((1, 1, 2), np.float32), np.ones((1, 1), np.float32))
    result = Result(
        "",
        0,
        "",
        "two things",
        (
            Branch(Route.DETECT, ("mug", "bowl"), make_detections(("mug", "mug"), masks=masks)),
            Branch(Route.POSE, ("dog",), make_detections(("dog",), keypoints=points)),
        ),
    )
    joined = result.detections
    assert joined.labels == ("mug", "mug", "dog")
    assert joined.routes == (Route.DETECT, Route.DETECT, Route.POSE)
    assert joined.class_ids.tolist() == [0, 0, 2]
    assert np.asarray(joined.masks).any((1, 2)).tolist() == [True, True, False]
    assert np.isnan(joined.keypoints.points_xy[:2]).all()
    assert joined.keypoints.scores[:, 0].tolist() == [0.0, 0.0, 1.0]
    assert joined.track_ids is None
    (dog,) = joined["dog"].routes
    assert dog is Route.POSE


def test_an_answer_in_words_has_no_detections():
    assert len(Result("", 0, "", "yes").detections) == 0
