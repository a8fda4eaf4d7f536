"""A checkpoint that draws and edits, to engines that do the same."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests.runtime.diffusion.diffusion_parts import make_frame, run_to_end
from vl2_ros.export.build_engines import verify_engine
from vl2_ros.export.engine_builders import OnnxRuntimeBuilder
from vl2_ros.export.engine_store import EngineStore, clean_exported
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.model.parts import IMAGE_PARTS
from vl2_ros.runtime.files.engine_files import read_engine_files
from vl2_ros.structures import ImageOptions, Route

pytestmark = pytest.mark.slow

ENGINES = [
    *(f"image_generation.{graph}" for graph in IMAGE_PARTS["image_generation"].graphs),
    "image_generation.safety_checker",
    *(f"image_editing.{graph}" for graph in IMAGE_PARTS["image_editing"].graphs),
]
STEPS = {Route.GENERATE: "pndm", Route.EDIT: "euler_ancestral"}
STATES = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def frame():
    return make_frame(64, 64)


def test_engines_draw_what_torch_draws(built, frame):
    ours, theirs = (
        load_pipeline(one).engines.image_generators
        for one in (
            LoadOptions(
                *(built.weights, "cpu"),
                backend="onnxruntime",
                engines=built.engines,
                allow_fallback=False,
            ),
            LoadOptions(built.weights, "cpu", backend="torch"),
        )
    )
    # PNDM looks twice at the second time.
    for (route, scheduler), calls in zip(STEPS.items(), (5, 4), strict=True):
        drawn, events = run_to_end(ours[route], STATES, ImageOptions(5, 4), frame)
        known, _ = run_to_end(theirs[route], STATES, ImageOptions(5, 4), frame)
        assert len(events) == calls
        assert known.scheduler == scheduler and known.rgb.std() > 8
        assert np.abs(drawn.rgb.astype(int) - known.rgb.astype(int)).max() <= 1


def test_other_options_are_drawn_as_by_torch(built, frame):
    options = LoadOptions(built.weights, "cpu", backend="onnxruntime", engines=built.engines)
    ours, theirs = (
        load_pipeline(one).engines.image_generators
        for one in (options, LoadOptions(built.weights, "cpu", backend="torch"))
    )
    assert {one.info.backend for one in ours.values()} == {"onnxruntime"}
    for route in STEPS:
        for scheduler, guidance in (("dpm++", 5.0), ("ddim", 1.0), ("euler", 7.5)):
            wanted = ImageOptions(9, 3, guidance, scheduler=scheduler)
            (mine, _), (known, _) = (
                run_to_end(one[route], STATES, wanted, frame) for one in (ours, theirs)
            )
            assert np.abs(mine.rgb.astype(int) - known.rgb.astype(int)).max() <= 1


def test_parts_have_engines_of_their_own_that_are_listed_verified_and_deleted(built, tmp_path):
    store = EngineStore(shutil.copytree(built.engines, tmp_path / "engines"))
    names = ["vision_encoder", "language_model", *ENGINES]
    assert sorted(store.published()) == sorted(names)
    assert sorted(one.recipe.graph for one in store.list_engines()) == sorted(names)
    hashes = {part: store.published()[f"{part}.denoiser"].sha256 for part in IMAGE_PARTS}
    assert len({*hashes.values()}) == 2
    for name in ENGINES:
        verdict = verify_engine(store.published()[name], OnnxRuntimeBuilder(), built.exported)
        assert verdict.graph == name and not verdict.problem and verdict.misses
    old = store.published()["image_editing.denoiser"].path
    document = json.loads((store.folder / "engines.json").read_text())
    del document["graphs"]["image_editing.denoiser"]
    (store.folder / "engines.json").write_text(json.dumps(document))
    assert {path.name for path in store.clean()} == {old.name, f"{old.stem}.json"}
    store.clean(everything=True)
    assert [path.name for path in store.folder.iterdir()] == ["engines.lock"]
    exported = shutil.copytree(built.exported, tmp_path / "onnx")
    clean_exported(exported)
    assert [path.name for path in exported.iterdir()] == ["engines.lock"]


def test_a_part_that_is_switched_off_takes_its_engines_with_it(built):
    options = LoadOptions(
        *(built.weights, "cpu"),
        backend="onnxruntime",
        engines=built.engines,
        without=("image_editing",),
        allow_fallback=False,
    )
    engines = load_pipeline(options).engines
    assert list(engines.image_generators) == [Route.GENERATE]
    assert "switched off" in engines.absent["image_editing"]


def test_a_lost_engine_of_the_safety_checker_leaves_no_image_unchecked(built, tmp_path, caplog):
    folder = shutil.copytree(built.engines, tmp_path / "engines")
    document = json.loads((folder / "engines.json").read_text())
    del document["graphs"]["image_generation.safety_checker"]
    (folder / "engines.json").write_text(json.dumps(document))
    options = LoadOptions(built.weights, "cpu", backend="onnxruntime", engines=folder)
    made = load_pipeline(options).engines.image_generators
    assert made[Route.GENERATE].info.backend == "torch"
    assert made[Route.EDIT].info.backend == "onnxruntime"
    assert "lack image_generation.safety_checker" in caplog.text


def test_exported_files_have_the_axes_of_the_profile(built):
    files = read_engine_files(built.exported)
    axes = files.require("image_editing.denoiser").axes
    assert axes["images"] == (1, 2, 3) and axes["latent_width"] == 8
    assert files.require("image_generation.denoiser").axes["latent_width"] == 4
    assert files.require("image_editing.vae_encoder").axes == {"height": 64, "width": 64}
    assert files.require("image_generation.safety_checker").axes == {"checker_side": 32}
