"""Every way in which a checkpoint folder can be wrong, and what the error says."""

from __future__ import annotations

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.model.checkpoint.fake_release import (
    FORMS,
    SMALL,
    SUFFIX,
    edit_json,
    edit_shard,
    make_weights,
    write_release,
)
from vl2_ros.errors import CheckpointError, ConfigError
from vl2_ros.model.checkpoint.folder import load_model, save_model


@pytest.fixture(scope="module")
def weights():
    return make_weights(SMALL)


@pytest.fixture
def release(tmp_path, weights):
    return write_release(tmp_path / "release", weights)


@pytest.fixture
def bin_release(tmp_path, weights):
    return write_release(tmp_path / "release", weights, form="bin")


@pytest.fixture
def saved(tmp_path, tiny_model):
    save_model(tiny_model, tmp_path / "saved")
    return tmp_path / "saved"


# The folder and its config


def test_missing_folder(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere does not exist; expected a checkpoint"):
        load_model(tmp_path / "nowhere")


def test_file_instead_of_a_folder(tmp_path):
    (tmp_path / "model").write_text("")
    with pytest.raises(CheckpointError, match=r"is a file; expected the folder with config\.json"):
        load_model(tmp_path / "model")


def test_folder_without_config(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json; expected a released VisionLLM"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "\ufeffnot json", "[1, 2]"])
def test_config_that_is_not_a_json_object(release, text):
    (release / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json .*expected one object"):
        load_model(release)


def test_config_of_another_model(release):
    edit_json(release / "config.json", model_type="llava")
    with pytest.raises(CheckpointError, match="'llava'; expected 'visionllmv2' or 'vl2_ros'"):
        load_model(release)


@pytest.mark.parametrize(
    ("part", "architecture"),
    [("vis_encoder_config", "InternVisionModel"), ("llm_config", "InternLM2ForCausalLM")],
)
def test_internvl_variants(release, part, architecture):
    values = json.loads((release / "config.json").read_text())[part]
    edit_json(release / "config.json", **{part: {**values, "architectures": [architecture]}})
    with pytest.raises(ConfigError, match=f"{architecture}.*not supported"):
        load_model(release)


def test_own_config_without_its_fields(saved):
    (saved / "config.json").write_text('{"model_type": "vl2_ros"}')
    with pytest.raises(CheckpointError, match="incomplete.*expected what save_model writes"):
        load_model(saved)


def test_release_without_tokenizer_files(release):
    (release / "added_tokens.json").unlink()
    with pytest.raises(CheckpointError, match=r"lists no added tokens in added_tokens"):
        load_model(release)


def test_release_with_the_tokenizer_of_another_model(release):
    (release / "added_tokens.json").write_text('{"[PAD]": 40}')
    with pytest.raises(CheckpointError, match="tokenizer has no .*expected the 26 added tokens"):
        load_model(release)


def test_folder_without_weights(release):
    for path in release.glob("model*"):
        path.unlink()
    with pytest.raises(CheckpointError, match=r"has no weights; expected model\.safetensors"):
        load_model(release)


@pytest.mark.parametrize("form", FORMS)
def test_one_shard_missing(tmp_path, weights, form):
    folder = write_release(tmp_path, weights, form=form)
    next(folder.glob("*-00002-of-00003*")).unlink()
    with pytest.raises(CheckpointError, match="lacks 1 of the 3 weight files.*-00002-of-00003"):
        load_model(folder)


@pytest.mark.parametrize("form", FORMS)
def test_index_that_promises_a_tensor_that_no_shard_holds(tmp_path, weights, form):
    folder = write_release(tmp_path, weights, form=form)
    path = edit_shard(folder, form, "llm.model.norm.weight", None)
    with pytest.raises(CheckpointError, match=rf"{path.name} .*llm\.model\.norm\.weight"):
        load_model(folder)


@pytest.mark.parametrize("place", ["../elsewhere.safetensors", "/etc/passwd", 3])
def test_index_that_leaves_the_folder(release, place):
    edit_json(release / "model.safetensors.index.json", weight_map={"llm.lm_head.weight": place})
    with pytest.raises(CheckpointError, match="expected a file beside the index"):
        load_model(release)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {}}', '{"weight_map": []}'])
def test_index_without_a_map(release, content):
    (release / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match="no 'weight_map'; expected tensor name -> file"):
        load_model(release)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kept", [0, 5, 1000, -100])
def test_truncated_weights(tmp_path, weights, form, kept):
    path = write_release(tmp_path, weights, form=form, shards=1) / SUFFIX[form]
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=rf"{path.name} .*cannot be read as.*again"):
        load_model(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_weights_overwritten_with_noise(tmp_path, weights, form):
    path = write_release(tmp_path, weights, form=form, shards=1) / SUFFIX[form]
    path.write_bytes(os.urandom(4096))
    with pytest.raises(CheckpointError, match="cannot be read as"):
        load_model(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_git_lfs_pointer_instead_of_weights(tmp_path, weights, form):
    path = write_release(tmp_path, weights, form=form, shards=1) / SUFFIX[form]
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10\n")
    with pytest.raises(CheckpointError, match="git-lfs pointer, not weights; run `git lfs pull`"):
        load_model(tmp_path)


class Payload:
    """Runs a command when it is unpickled without restriction."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_pickled_object_is_refused_and_not_run(bin_release, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = next(bin_release.glob("*-00001-of-00003.bin"))
    torch.save({"llm.lm_head.weight": Payload()}, path)
    with pytest.raises(CheckpointError, match="other than tensors; it was not loaded, since that"):
        load_model(bin_release)
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize("content", [{"epoch": 3}, {"model": {"a": torch.ones(2)}}, {3: None}])
def test_bin_with_something_other_than_tensors(bin_release, content):
    torch.save(content, next(bin_release.glob("*-00001-of-00003.bin")))
    with pytest.raises(CheckpointError, match="contains a .*expected named tensors only"):
        load_model(bin_release)


def test_bin_that_is_one_tensor(bin_release):
    torch.save(torch.ones(3), next(bin_release.glob("*-00001-of-00003.bin")))
    with pytest.raises(
        CheckpointError, match="contains a Tensor; expected a dict of named tensors"
    ):
        load_model(bin_release)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(tmp_path, weights, form, value):
    folder = write_release(tmp_path, weights, form=form)
    bad = weights["vl_bridge.2.bias"].clone()
    bad[3] = value
    edit_shard(folder, form, "vl_bridge.2.bias", bad)
    with pytest.raises(CheckpointError, match=r"projector\.2\.bias contains NaN or infinity"):
        load_model(folder)


def test_one_nan_in_the_file_of_ours(saved):
    tensors = load_file(saved / "model.safetensors")
    tensors["super_link.det.weight"][0, 0] = float("nan")
    save_file(tensors, saved / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"super_link\.det\.weight contains NaN"):
        load_model(saved)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("vl_bridge.0.weight", (128, 65), r"vl_bridge\.0\.weight \(expected \(128, 64\), got"),
        ("llm.lm_head.weight", (67, 128), r"expected \(66, 128\), got \(67, 128\)"),
        (
            "gdino.model.decoder.layers.0.self_attn.in_proj_weight",
            (97, 32),
            r"expected \(32, 32\) x 3, got \(97, 32\)",
        ),
    ],
)
def test_wrong_shape(release, name, shape, message):
    edit_shard(release, "safetensors", name, torch.zeros(shape))
    for strict in (True, False):
        with pytest.raises(CheckpointError, match=f"1 tensors of another shape .*{message}"):
            load_model(release, strict=strict)


def test_integers_in_place_of_floats(release):
    edit_shard(release, "safetensors", "vl_bridge.2.bias", torch.zeros(128, dtype=torch.int64))
    with pytest.raises(CheckpointError, match=r"expected float \(128,\), got torch\.int64 \("):
        load_model(release)


def test_missing_and_unexpected_tensors_are_listed_together(tmp_path, weights):
    changed = dict(weights)
    for index in range(2):
        changed[f"llm.model.layers.{index}.more.weight"] = torch.zeros(2)
        del changed[f"llm.model.layers.{index}.mlp.up_proj.weight"]
    changed["adapter.weight"] = torch.zeros(2)
    folder = write_release(tmp_path, changed)
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "2 tensors missing (llm 2): llm.model.layers.0.mlp.up_proj.weight" in message
    assert "3 tensors unexpected (llm 2, adapter 1)" in message
    assert "adapter.weight" in message


def test_long_lists_are_cut(tmp_path, weights):
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("llm.")}
    folder = write_release(tmp_path, kept)
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "21 tensors missing (llm 21)" in message
    assert message.endswith(", ...")
    assert len(message) < 700


def test_unequal_aliases(release, weights):
    name = "gdino.bbox_embed.1.layers.0.weight"
    edit_shard(release, "safetensors", name, weights[name] + 1)
    with pytest.raises(CheckpointError, match=r"box_head.*several names with different values"):
        load_model(release)
