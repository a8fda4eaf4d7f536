"""A profile that cannot take a checkpoint's own prompts is refused before anything is built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vl2_ros.errors import ConfigError
from vl2_ros.export import profile_export
from vl2_ros.export.engine_profile import EngineProfile, find_profile, load_profile, read_profile
from vl2_ros.export.full_size.profile_fit import check_fit
from vl2_ros.export.profile_export import export_for_profile
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.processing.config import FILE_NAME, ProcessingConfig

PROMPT = {"rows": 1, "tokens": [1, 704, 4096], "past": 0}
STEP = {"rows": 1, "tokens": [1, 1, 80], "past": [1, 704, 4096]}


@pytest.fixture(scope="module")
def released(golden_dir, tmp_path_factory) -> Path:
    """A small checkpoint that cuts images as the released one does, in five tiles of 576 tokens."""
    folder = tmp_path_factory.mktemp("released")
    for path in (golden_dir / "release_tiny" / "safetensors").iterdir():
        (folder / path.name).symlink_to(path.resolve())
    (folder / FILE_NAME).unlink(missing_ok=True)
    ProcessingConfig().save(folder)
    return folder


def make_profile(
    *language: dict, tiles=(1, 5, 5), backend: str = "tensorrt", **settings
) -> EngineProfile:
    graphs = {
        "vision_encoder": {"shapes": [{"tiles": list(tiles)}]},
        "language_model": {"shapes": [*language]},
    }
    device = "cuda" if backend == "tensorrt" else "cpu"
    return read_profile(
        "mine", {"backend": backend, "device": device, "graphs": graphs, **settings}
    )


@pytest.mark.parametrize("name", ["cpu", "cpu-int8", "discrete", "orin"])
@pytest.mark.parametrize("weights", ["released", EMBEDDED_WEIGHTS])
def test_shipped_profiles_take_the_prompts_of_both_models(name, weights, request):
    folder = request.getfixturevalue(weights) if isinstance(weights, str) else weights
    check_fit(load_profile(find_profile(name)), folder)


def test_lines_that_are_too_narrow_are_named_with_what_they_should_be(released):
    profile = load_profile(find_profile("orin"))
    with pytest.raises(ConfigError) as caught:
        check_fit(replace(profile, max_tiles=None), released)
    text = str(caught.value)
    assert "5 tiles of 576 tokens" in text and "add `max_tiles: 1`" in text
    longest = int(text.partition("a prompt has up to ")[2].split()[0])
    # 2,880 of the image and those of the words around it.
    assert 2880 + 256 < longest < 3400
    assert f"`tokens: [1, 704, 1024]` of language_model to `tokens: [1, 704, {longest}]`" in text
    assert f"`past: [1, 704, 2048]` of language_model to `past: [1, 704, {longest + 256}]`" in text


def test_lines_changed_as_they_say_fit(released):
    narrow = make_profile({**PROMPT, "tokens": [200, 704, 1024]}, {**STEP, "tokens": 1})
    with pytest.raises(ConfigError) as caught:
        check_fit(narrow, released)
    text = str(caught.value)
    shapes = [dict(PROMPT), dict(STEP)]
    for index, old in ((0, "[200, 704, 1024]"), (1, "1")):
        wide = text.partition(f"`tokens: {old}` of language_model to `tokens: ")[2].split("`")[0]
        shapes[index]["tokens"] = [int(size) for size in wide.strip("[]").split(",")]
    assert shapes[1]["tokens"] == [1, 1, 65]
    check_fit(make_profile(*shapes), released)


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (
            make_profile(PROMPT, STEP, tiles=(1, 1, 3)),
            r"`tiles: \[1, 1, 3\]` of vision_encoder to ",
        ),
        (make_profile(PROMPT, STEP, tiles=(2, 3, 5)), r"to `tiles: \[1, 3, 5\]`"),
        (make_profile(PROMPT), "past: .* to `past: "),
        (
            make_profile(
                PROMPT, {**STEP, "past": [1, 1, 900]}, {**STEP, "past": [1000, 1000, 4096]}
            ),
            r"past: \[1000, 1000, 4096\]` of language_model to `past: \[\d+, 1000, 4096\]",
        ),
        (make_profile(PROMPT, {**STEP, "tokens": [1, 1, 64]}), r"to `tokens: \[1, 1, 65\]`"),
        (make_profile({"rows": 1, "tokens": 900, "past": 0}, backend="onnxruntime"), "tokens: 900"),
    ],
)
def test_each_kind_of_range_is_looked_at(released, profile, expected):
    with pytest.raises(ConfigError, match=expected):
        check_fit(profile, released)


def test_ranges_one_behind_the_other_are_enough(released):
    steps = ({**STEP, "past": [1, 1, 999]}, {**STEP, "past": [1000, 1000, 4096]})
    check_fit(make_profile(PROMPT, *steps), released)


def test_axes_that_onnx_runtime_leaves_open_have_no_bound(released):
    check_fit(
        make_profile({**PROMPT, "tokens": [1, 1, 64], "past": [0, 1, 64]}, backend="onnxruntime"),
        released,
    )


def test_fewer_tiles_need_shorter_prompts(released):
    short = ({**PROMPT, "tokens": [1, 704, 1024]}, {**STEP, "past": [1, 704, 2048]})
    check_fit(make_profile(*short, max_tiles=1), released)
    with pytest.raises(ConfigError, match="3 tiles of 576 tokens.*add `max_tiles: 1`"):
        check_fit(make_profile(*short, max_tiles=2), released)


def test_nothing_is_exported_for_a_profile_that_does_not_fit(released, tmp_path, monkeypatch):
    monkeypatch.setattr(profile_export, "export_engines", lambda *_, **__: pytest.fail("exported"))
    with pytest.raises(ConfigError, match="the profile mine cannot take the prompts"):
        export_for_profile(make_profile(PROMPT), released, tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


@pytest.mark.parametrize("value", [0, 65, True, "2"])
def test_other_numbers_of_tiles_are_refused(value):
    with pytest.raises(ConfigError, match="max_tiles must be"):
        make_profile(PROMPT, max_tiles=value)
