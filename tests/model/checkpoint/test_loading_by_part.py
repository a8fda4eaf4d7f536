"""Parts of a checkpoint loaded with the language side, alone, or not at all."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import vl2_ros.model.checkpoint.config as checkpoint_config
from tests.model.checkpoint.fake_release import edit_json
from vl2_ros.errors import CheckpointError, ConfigError
from vl2_ros.model.checkpoint.folder import (
    convert_checkpoint,
    describe_checkpoint,
    load_model,
    load_part,
    save_model,
)
from vl2_ros.model.checkpoint.opening import open_checkpoint
from vl2_ros.model.checkpoint.shards import find_weight_files, iterate_tensors
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import IMAGE_PARTS, PARTS

FORMS = ("bin", "safetensors")
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = ModelConfig.tiny(with_pose=True, with_images=True)
    return VisionLLM(config, TokenIds.from_base(64)).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("saved")
    save_model(model, folder, dtype=torch.float32)
    return folder


@pytest.fixture(scope="module")
def root(golden_dir):
    return golden_dir / "release_tiny"


@pytest.fixture(scope="module")
def wholes(root):
    return {form: load_model(root / form) for form in FORMS}


@pytest.fixture
def lone_release(root, tmp_path):
    """The release without the Stable Diffusion folders."""
    return copy_tree(root / "safetensors", tmp_path / "lone" / "release")


def copy_tree(source: Path, target: Path) -> Path:
    """Copy a folder whose files may be read-only, so that the copy can be changed."""
    if not source.is_dir():
        raise FileNotFoundError(2, "no such folder", str(source))
    for path in filter(Path.is_file, source.rglob("*")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return target


def assert_equal_states(module: nn.Module, expected: nn.Module) -> None:
    state = module.state_dict()
    assert list(state) == list(expected.state_dict())
    for name, tensor in expected.state_dict().items():
        assert torch.equal(state[name], tensor), name


# Which parts


@pytest.mark.parametrize("part", PARTS)
def test_a_part_comes_with_the_language_side_and_nothing_else_does(saved, model, part):
    loaded = load_model(saved, parts=(part,))
    assert loaded.config.parts == (part,)
    assert_equal_states(loaded.get_submodule(part), model.get_submodule(part))
    assert_equal_states(loaded.llm, model.llm)
    assert [name for name in PARTS if getattr(loaded, name) is not None] == [part]


def test_without_parts_the_language_side_alone_answers_the_same(saved, model):
    loaded = load_model(saved, parts=())
    ids = torch.arange(3, 23)[None]
    with torch.inference_mode():
        assert torch.equal(loaded(ids).logits, model(ids).logits)
    assert {name.split(".")[0] for name in loaded.state_dict()} == {
        *("vision_encoder", "projector", "llm", "super_link")
    }


@pytest.mark.parametrize("part", PARTS)
def test_one_part_alone_is_the_one_of_the_whole_network(saved, model, part):
    loaded = load_part(saved, part)
    assert type(loaded) is type(getattr(model, part))
    assert not loaded.training
    assert_equal_states(loaded, model.get_submodule(part))
    assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))


def test_a_part_has_the_asked_for_dtype(saved):
    loaded = load_part(saved, "image_generation", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}


@pytest.mark.golden
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_release_is_the_one_of_the_whole(root, wholes, form, part):
    assert_equal_states(load_part(root / form, part), wholes[form].get_submodule(part))


def test_tensors_of_other_parts_may_be_of_any_shape(saved, tmp_path):
    folder = copy_tree(saved, tmp_path / "edited")
    values = json.loads((folder / "config.json").read_text())
    values["model"]["pose"]["num_queries"] = 21
    edit_json(folder / "config.json", **values)
    with pytest.raises(CheckpointError, match=r"pose_decoder\.query_embeddings"):
        load_model(folder)
    assert load_model(folder, parts=("detection_decoder",)).pose_decoder is None
    load_part(folder, "detection_decoder")


def test_progress_counts_what_is_read_of_the_part(saved, model):
    calls: list[tuple[int, int]] = []
    load_part(saved, "pose_decoder", progress=lambda *call: calls.append(call))
    size = sum(tensor.nbytes for tensor in model.pose_decoder.state_dict().values())
    assert [total for _, total in calls] == [size] * len(calls)
    assert calls[-1][0] == size


@pytest.mark.parametrize("load", [lambda f, p: load_model(f, parts=[p]), load_part])
def test_a_part_that_is_none_or_not_there_is_refused(tmp_path, tiny_model, load):
    save_model(tiny_model, tmp_path)
    with pytest.raises(ConfigError, match=r"unknown parts \['audio'\]; expected some of region"):
        load(tmp_path, "audio")
    with pytest.raises(CheckpointError, match=r"has no pose_decoder; it has region_encoder"):
        load(tmp_path, "pose_decoder")


def test_description_gives_the_bytes_of_each_part(saved, model):
    info = describe_checkpoint(saved)
    assert info.part_bytes == {
        name: sum(tensor.nbytes for tensor in child.state_dict().values())
        for name, child in model.named_children()
    }
    assert info.decoders == ("detection_decoder", "pose_decoder", *IMAGE_PARTS)


@pytest.mark.golden
@pytest.mark.parametrize("form", FORMS)
def test_description_of_a_release_counts_every_stored_value_once(root, wholes, form):
    info = describe_checkpoint(root / form)
    for name, child in wholes[form].named_children():
        state = {id(tensor): tensor for tensor in child.state_dict(keep_vars=True).values()}
        assert info.parts[name] == sum(tensor.numel() for tensor in state.values()), name
    assert info.part_bytes["image_editing"] == sum(
        tensor.nbytes
        for name, tensor in iterate_tensors(find_weight_files(root / form))
        if name.startswith("ip2p.")
    )


def test_perception_needs_no_diffusers(saved):
    code = (
        "import sys; sys.modules['diffusers'] = None\n"
        "from vl2_ros.model.checkpoint.folder import describe_checkpoint, load_model, load_part\n"
        f"folder = {str(saved)!r}\n"
        "load_model(folder, parts=('detection_decoder', 'pose_decoder'))\n"
        "load_part(folder, 'detection_decoder')\n"
        "print(describe_checkpoint(folder).unavailable['image_editing'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "install vl2_ros[diffusion]" in done.stdout


# What is not to be had


@pytest.mark.golden
def test_missing_diffusion_folders_take_only_their_parts_away(lone_release, caplog):
    info = describe_checkpoint(lone_release)
    assert info.decoders == ("detection_decoder", "pose_decoder")
    assert set(info.unavailable) == set(IMAGE_PARTS)
    assert set(info.part_bytes).isdisjoint(IMAGE_PARTS)
    with caplog.at_level(logging.WARNING):
        network = load_model(lone_release)
    assert network.image_generation is None and network.pose_decoder is not None
    assert "skipped image_editing: no Stable Diffusion folder" in caplog.text


@pytest.mark.golden
def test_the_error_says_where_the_folder_was_looked_for(lone_release, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "checkpoints/stable-diffusion-v1-5"
    with pytest.raises(CheckpointError) as refused:
        load_part(lone_release, "image_generation")
    text = str(refused.value)
    for place in (lone_release, lone_release.parent, tmp_path):
        assert str(place / name) in text
    assert "sd_model_id into config.json" in text


@pytest.mark.golden
@pytest.mark.parametrize("place", ["inside", "beside", "working directory", "absolute"])
def test_the_folder_is_found_in_each_place(lone_release, root, tmp_path, monkeypatch, place):
    name = Path("checkpoints/stable-diffusion-v1-5")
    target = {
        "inside": lone_release / name,
        "beside": lone_release.parent / name,
        "working directory": tmp_path / "here" / name,
        "absolute": tmp_path / "anywhere",
    }[place]
    copy_tree(root / name, target)
    (tmp_path / "here").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "here")
    if place == "absolute":
        values = json.loads((lone_release / "config.json").read_text())
        values["sd_config"]["sd_model_id"] = str(target)
        edit_json(lone_release / "config.json", **values)
    assert load_part(lone_release, "image_generation").folder.path.samefile(target)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vae/config.json": None}, "cannot read"),
        ({"unet/config.json": '{"in_channels": 4}'}, "lacks"),
        ({"unet/config.json": "{"}, "is not JSON"),
        (
            {"tokenizer/vocab.json": "{}", "tokenizer/added_tokens.json": None},
            "has no id in its vocabulary",
        ),
        (
            {
                "text_encoder/config.json": '{"vocab_size": 520, "hidden_size": 64, '
                '"max_position_embeddings": 77}'
            },
            "hidden_size must be 32",
        ),
    ],
)
def test_a_broken_diffusion_folder_is_named_and_takes_only_its_part(
    lone_release, root, changes, reason
):
    copy_tree(root / "checkpoints", lone_release / "checkpoints")
    for file, content in changes.items():
        broken = lone_release / "checkpoints" / "stable-diffusion-v1-5" / file
        broken.unlink()
        if content is not None:
            broken.write_text(content)
    info = describe_checkpoint(lone_release)
    assert list(info.unavailable) == ["image_generation"]
    assert reason in info.unavailable["image_generation"]
    assert "image_editing" in info.decoders


def test_without_diffusers_the_parts_are_noted_as_unavailable(saved, monkeypatch):
    monkeypatch.setattr(checkpoint_config, "find_spec", lambda name: None)
    info = describe_checkpoint(saved)
    assert set(info.unavailable) == set(IMAGE_PARTS)
    assert "install vl2_ros[diffusion]" in info.unavailable["image_editing"]
    with pytest.raises(CheckpointError, match="cannot be loaded: diffusers is not installed"):
        load_model(saved, parts=("image_generation",))


# The release, whole


@pytest.mark.golden
@pytest.mark.parametrize(("form", "count"), [("bin", 2405), ("safetensors", 2273)])
def test_every_stored_tensor_of_a_release_has_a_place(root, form, count):
    opened = open_checkpoint(root / form)
    names = {name for name, _ in iterate_tensors(find_weight_files(root / form))}
    computed = {name for name in names if name.endswith("relative_position_index")}
    assert len(names) == count and len(computed) == 16
    assert set(opened.plan.targets) == names - computed
    assert opened.plan.missing == opened.plan.unexpected == ()
    assert opened.model.config.parts == tuple(PARTS)


@pytest.mark.golden
@pytest.mark.parametrize("form", FORMS)
def test_the_editing_denoiser_is_the_checkpoints_and_not_the_folders(root, form):
    from safetensors.torch import load_file

    loaded = load_part(root / form, "image_editing").denoiser.state_dict()
    folder = root / "checkpoints" / "instruct-pix2pix" / "unet"
    other = load_file(folder / "diffusion_pytorch_model.safetensors")
    stored = {
        name.removeprefix("ip2p.sd_unet."): tensor
        for name, tensor in iterate_tensors(find_weight_files(root / form))
        if name.startswith("ip2p.sd_unet.")
    }
    assert set(loaded) == set(stored) == set(other)
    assert all(torch.equal(loaded[name], stored[name].float()) for name in loaded)
    assert not all(torch.equal(loaded[name], other[name].float()) for name in loaded)


# Our own layout


@pytest.mark.golden
@pytest.mark.parametrize("form", FORMS)
def test_a_converted_release_needs_no_other_folder(root, tmp_path, form):
    source, out = root / form, tmp_path / "out"
    convert_checkpoint(source, out, max_shard_bytes=500_000)
    for part in IMAGE_PARTS:
        original, converted = load_part(source, part), load_part(out, part)
        assert converted.config == original.config
        assert_equal_states(converted, original)
        assert converted.folder.path == out / "diffusion" / part
        assert (converted.folder.tokenizer / "vocab.json").is_file()
        assert (converted.folder.path / "scheduler" / "scheduler_config.json").is_file()
        assert not list(converted.folder.path.rglob("*.safetensors"))
    before, after = describe_checkpoint(source), describe_checkpoint(out)
    assert after.part_bytes == before.part_bytes
    assert after.decoders == before.decoders


@pytest.mark.golden
def test_a_saved_release_keeps_its_companions_and_can_be_saved_in_place(root, tmp_path):
    save_model(load_model(root / "bin"), tmp_path / "once", dtype=torch.bfloat16)
    again = load_model(tmp_path / "once")
    save_model(again, tmp_path / "once", dtype=torch.bfloat16)
    for part in IMAGE_PARTS:
        kept = load_part(tmp_path / "once", part)
        assert_equal_states(kept, again.get_submodule(part))
        assert kept.config.scheduler["_class_name"].endswith("Scheduler")
        assert (kept.folder.tokenizer / "merges.txt").is_file()


@pytest.mark.golden
def test_a_safety_checker_in_the_folder_is_reported_and_kept(lone_release, root, tmp_path):
    copy_tree(root / "checkpoints", lone_release / "checkpoints")
    folder = lone_release / "checkpoints" / "stable-diffusion-v1-5"
    for name, file in (
        ("safety_checker", "config.json"),
        ("feature_extractor", "preprocessor_config.json"),
    ):
        (folder / name).mkdir()
        (folder / name / file).write_text("{}")
    assert describe_checkpoint(lone_release).safety_checkers == ("image_generation",)
    convert_checkpoint(lone_release, tmp_path / "out")
    assert describe_checkpoint(tmp_path / "out").safety_checkers == ("image_generation",)
    assert load_part(tmp_path / "out", "image_editing").folder.safety_checker is None
    kept = tmp_path / "out" / "diffusion" / "image_generation"
    assert (kept / "feature_extractor" / "preprocessor_config.json").is_file()
