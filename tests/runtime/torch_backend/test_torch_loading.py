"""Which parts of a checkpoint are loaded at once, later or never; what memory they take."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig

from vl2_ros.errors import CheckpointError, ConfigError, EngineError, InputError, RouteError
from vl2_ros.model.checkpoint.folder import save_model
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import IMAGE_PARTS
from vl2_ros.runtime.lazy import LazyEngine
from vl2_ros.runtime.torch_backend.diffusion import make_torch_generator
from vl2_ros.runtime.torch_backend.engine import TorchEngine
from vl2_ros.runtime.torch_backend.loading import count_bytes, load_torch_engines
from vl2_ros.structures import Frame, ImageOptions, Route

STATES = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)
FEW = ImageOptions(seed=1, steps=2, scheduler="euler")
FRAME = Frame(np.full((64, 64, 3), 90, np.uint8))
#: (frame, classes) of one call of the detection decoder.
DETECTION = {
    "pixels": np.random.default_rng(1).normal(size=(1, 3, 64, 64)).astype(np.float32),
    "pixel_mask": np.ones((1, 64, 64), np.bool_),
    "super_link": np.random.default_rng(2).normal(size=(1, 2, 4, 64)).astype(np.float32),
    "class_mask": np.ones((1, 2), np.bool_),
}


def save_network(folder: Path, *, channels: list[int] | None = None) -> Path:
    torch.manual_seed(0)
    config = ModelConfig.tiny(with_detection=True, with_pose=True, with_images=True)
    if channels:
        for part in IMAGE_PARTS:
            diffusion = getattr(config, part)
            denoiser = {**diffusion.denoiser, "block_out_channels": channels}
            text = {**diffusion.text_encoder, "vocab_size": 200_000}
            config = replace(
                config, **{part: replace(diffusion, denoiser=denoiser, text_encoder=text)}
            )
    save_model(VisionLLM(config, TokenIds.from_base(64)), folder, dtype=torch.float32)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_network(tmp_path_factory.mktemp("weights"))


def draw(engines, route=Route.GENERATE):
    run = engines.image_generators[route].generate(STATES, FEW, FRAME)
    try:
        while True:
            next(run)
    except StopIteration as stop:
        return stop.value


def test_perception_is_there_at_once_and_images_later(weights, monkeypatch):
    loads = []
    monkeypatch.setattr(
        "vl2_ros.runtime.torch_backend.loading.load_part",
        lambda folder, part, **given: loads.append(part),
    )
    engines = load_torch_engines(weights)
    parts = engines.decoders["detection_decoder"]
    assert all(isinstance(one, TorchEngine) for one in (parts.backbone, parts.decoder))
    assert engines.routes == (
        *(Route.DETECT, Route.GROUND, Route.SEGMENT, Route.POSE),
        *(Route.GENERATE, Route.EDIT),
    )
    engines.decoders["detection_decoder"].run(DETECTION)
    assert loads == []


def test_a_generator_says_what_it_is_before_it_is_loaded(weights):
    info = load_torch_engines(weights).image_generators[Route.GENERATE].info
    assert (info.graph, info.backend, info.device) == ("denoiser", "torch", "cpu")
    assert info.inputs == ("latents", "timestep", "prompt_embeds")


@pytest.mark.parametrize("route", [Route.GENERATE, Route.EDIT])
def test_images_come_from_the_weights_of_the_checkpoint(weights, route):
    from vl2_ros.model.checkpoint.folder import load_model

    loaded = draw(load_torch_engines(weights), route)
    part = {Route.GENERATE: "image_generation", Route.EDIT: "image_editing"}[route]
    network = load_model(weights, parts=[part]).get_submodule(part)
    generator = make_torch_generator(network, route, torch.device("cpu"))
    run = generator.generate(STATES, FEW, FRAME)
    assert [event.step for event in (next(run), next(run))] == [1, 2]
    with pytest.raises(StopIteration) as stop:
        next(run)
    assert stop.value.value.rgb.tobytes() == loaded.rgb.tobytes()


def test_the_text_encoder_is_freed(weights):
    from vl2_ros.model.checkpoint.folder import load_part

    network = load_part(weights, "image_generation")
    text_bytes = count_bytes(network.text_encoder)
    before = count_bytes(network)
    make_torch_generator(network, Route.GENERATE, torch.device("cpu"))
    assert before - count_bytes(network) == text_bytes > 0


def test_decoders_under_a_budget_compute_the_same(weights):
    now, later = load_torch_engines(weights), load_torch_engines(weights, memory_budget_mb=500)
    for name in ("detection_decoder", "pose_decoder"):
        waiting, there = later.decoders[name], now.decoders[name]
        assert isinstance(waiting.decoder, LazyEngine)
        assert waiting.backbone.info == there.backbone.info
        assert waiting.decoder.info == there.decoder.info
    expected = now.decoders["detection_decoder"].run(DETECTION)
    for name, array in later.decoders["detection_decoder"].run(DETECTION).items():
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize(
    ("part", "routes"),
    [
        ("detection_decoder", {Route.DETECT, Route.GROUND, Route.SEGMENT}),
        ("pose_decoder", {Route.POSE}),
        ("image_generation", {Route.GENERATE}),
        ("image_editing", {Route.EDIT}),
        ("region_encoder", set()),
    ],
)
def test_a_part_that_is_switched_off_is_not_there_and_says_how_it_comes_back(weights, part, routes):
    everything = set(load_torch_engines(weights).routes)
    engines = load_torch_engines(weights, without=[part])
    assert set(engines.routes) == everything - routes
    assert list(engines.absent) == [part]
    assert (engines.region_encoder is None) == (part == "region_encoder")
    for route in routes:
        with pytest.raises(RouteError, match=rf"{part} is not loaded.*without naming {part}"):
            engines.check_routes([route])


def test_an_unknown_part_or_a_budget_of_nothing_is_refused(weights):
    with pytest.raises(ConfigError, match="'pose'.*pose_decoder"):
        load_torch_engines(weights, without=["pose"])
    for budget in (0, -1, float("nan")):
        with pytest.raises(ConfigError, match="memory_budget_mb must be above 0"):
            load_torch_engines(weights, memory_budget_mb=budget)


def test_a_decoder_over_the_budget_is_refused_when_it_is_wanted(weights):
    engines = load_torch_engines(weights, memory_budget_mb=0.01)
    with pytest.raises(EngineError, match=r"detection_decoder needs .* MB.*budget of 0.0 MB"):
        engines.decoders["detection_decoder"].run(DETECTION)
    with pytest.raises(EngineError, match=r"image_editing needs .* MB"):
        draw(engines, Route.EDIT)


def add_safety_checker(folder: Path) -> None:
    """Write a checker that refuses everything."""
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    checker.concept_embeds_weights.data.fill_(-2)
    checker.save_pretrained(folder / "safety_checker")
    processor = {"size": 32, "crop_size": 32, "do_resize": True, "do_center_crop": True}
    processor |= {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "feature_extractor").mkdir()
    file = folder / "feature_extractor" / "preprocessor_config.json"
    file.write_text(json.dumps(processor | {"image_processor_type": "CLIPImageProcessor"}))


def test_the_safety_checker_of_a_part_is_asked(tmp_path):
    add_safety_checker(save_network(tmp_path) / "diffusion" / "image_generation")
    engines = load_torch_engines(tmp_path, memory_budget_mb=500)
    with pytest.raises(InputError, match="safety checker"):
        draw(engines)
    assert draw(engines, Route.EDIT).rgb.shape == (64, 64, 3)


def test_a_safety_checker_that_is_named_but_missing_makes_no_image(tmp_path):
    folder = save_network(tmp_path) / "diffusion" / "image_generation"
    folder.mkdir(parents=True, exist_ok=True)
    names = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    (folder / "model_index.json").write_text(json.dumps(names))
    with pytest.raises(CheckpointError, match="names a safety checker"):
        draw(load_torch_engines(tmp_path))


@pytest.mark.golden
def test_without_its_stable_diffusion_folder_a_release_does_all_else(golden_dir, tmp_path):
    copy = shutil.copytree(golden_dir / "release_tiny" / "safetensors", tmp_path / "release")
    engines = load_torch_engines(copy)
    assert set(engines.routes) == {Route.DETECT, Route.GROUND, Route.SEGMENT, Route.POSE}
    with pytest.raises(RouteError, match=r"\[GEN\].*no Stable Diffusion folder.*nothing is down"):
        engines.check_routes([Route.GENERATE])


_MEASURE = """
import json, sys
from pathlib import Path
import numpy as np
from vl2_ros.runtime.torch_backend.loading import load_torch_engines
from vl2_ros.structures import Frame, ImageOptions, Route
warm_up, folder = sys.argv[1:]
def rss():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
frame = Frame(np.full((64, 64, 3), 90, np.uint8))
states = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)
def draw(engines, route):
    for _ in engines.image_generators[route].generate(states, ImageOptions(1, 2), frame):
        pass
other = load_torch_engines(Path(warm_up))  # imports and thread pools
for route in other.image_generators:
    draw(other, route)
engines = load_torch_engines(Path(folder), memory_budget_mb=float(90))
seen = [rss()]
for route in (Route.GENERATE, Route.EDIT, Route.GENERATE, Route.EDIT):
    draw(engines, route)
    seen.append(rss())
unlimited = load_torch_engines(Path(folder))
draw(unlimited, Route.GENERATE)
seen.append(rss())
print(json.dumps(seen))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_of_a_freed_decoder_really_returns(weights, tmp_path):
    # 58 MB of denoiser each and 26 MB of text encoder, which is freed once it has read "".
    large = save_network(tmp_path / "large", channels=[64, 128, 192, 192])
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(weights), str(large)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    before, *after, with_a_second = json.loads(done.stdout.splitlines()[-1])
    grown = [(one - before) / 1e6 for one in after]
    # One denoiser is there at any time, never both, and the text encoder of none.
    assert all(50 < one < 80 for one in grown), grown
    # The measure sees a second one where it is there.
    assert (with_a_second - after[-1]) / 1e6 > 45
