"""Checkpoint folders: our own round trip, both released forms, conversion and description."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests.model.checkpoint.fake_release import (
    FORMS,
    SMALL,
    edit_json,
    edit_shard,
    make_weights,
    write_release,
)
from tests.model.renamed_release import rename_release_keys
from vl2_ros.errors import CheckpointError
from vl2_ros.model.checkpoint.folder import (
    convert_checkpoint,
    describe_checkpoint,
    load_model,
    save_model,
)
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import ADDED_TOKENS, TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.training.embedded.config import embedded_model_config


@pytest.fixture(scope="module")
def weights():
    return make_weights(SMALL)


@pytest.fixture
def release(tmp_path, weights):
    return write_release(tmp_path / "release", weights)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return VisionLLM(ModelConfig.tiny(with_pose=True), TokenIds.from_base(64)).eval()


@pytest.fixture
def saved(tmp_path, model):
    save_model(model, tmp_path / "saved", dtype=torch.float32)
    return tmp_path / "saved"


def assert_equal_states(state, expected):
    assert list(state) == list(expected)
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype, name
        assert torch.equal(state[name], tensor), name


# Round trips


def test_saved_float32_loads_bit_equal(model, saved):
    loaded = load_model(saved)
    assert not loaded.training
    assert loaded.config == model.config
    assert loaded.tokens == model.tokens
    assert_equal_states(loaded.state_dict(), model.state_dict())


def test_saved_float16_loads_as_float32_of_the_rounded_values(tmp_path, model):
    save_model(model, tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        stored = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    assert stored <= {torch.float16, torch.int64}
    rounded = {
        name: tensor.half().float() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    assert_equal_states(load_model(tmp_path).state_dict(), rounded)


def test_saving_twice_and_loading_into_another_dtype_give_the_same_file(tmp_path, saved):
    loaded = load_model(saved, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    for folder in ("a", "b"):
        save_model(loaded, tmp_path / folder, dtype=torch.bfloat16)
    first, second = (tmp_path / f / "model.safetensors" for f in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_computed_buffers_are_those_of_a_fresh_network(model, saved):
    loaded = load_model(saved, dtype=torch.bfloat16)
    stored = set(model.state_dict())
    computed = {name: tensor for name, tensor in model.named_buffers() if name not in stored}
    found = dict(loaded.named_buffers())
    assert len(computed) >= 3
    for name, tensor in computed.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name
    assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))


def test_loaded_network_computes_what_the_saved_one_did(model, saved):
    ids = torch.arange(3, 23)[None]
    with torch.inference_mode():
        assert torch.equal(load_model(saved)(ids).logits, model(ids).logits)


def test_loaded_network_can_be_trained(saved):
    loaded = load_model(saved)
    loaded(torch.arange(3, 23)[None], labels=torch.arange(3, 23)[None]).loss.backward()
    assert loaded.llm.lm_head.weight.grad is not None


def test_tied_embeddings_are_stored_once_and_stay_tied(tmp_path):
    config = ModelConfig.tiny(with_detection=False)
    tied = ModelConfig(**{**config.to_dict(), "llm": {**config.llm, "tie_word_embeddings": True}})
    original = VisionLLM(tied, TokenIds.from_base(64))
    save_model(original, tmp_path, dtype=torch.float32)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert len(names & {"llm.lm_head.weight", "llm.model.embed_tokens.weight"}) == 1
    loaded = load_model(tmp_path)
    assert loaded.llm.lm_head.weight is loaded.llm.model.embed_tokens.weight
    assert_equal_states(loaded.state_dict(), original.state_dict())


def test_batch_norm_statistics_and_counters_survive(tmp_path):
    config = embedded_model_config(vocab_size=300)
    original = VisionLLM(config, TokenIds.from_base(200))
    backbone = original.detection_decoder.backbone
    backbone(torch.rand(2, 3, 64, 64))
    assert any("running_mean" in name for name, _ in backbone.named_buffers())
    save_model(original, tmp_path, dtype=torch.float32)
    loaded = load_model(tmp_path)
    assert_equal_states(loaded.state_dict(), original.state_dict())
    assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))


def test_weights_survive_the_file(saved):
    loaded = load_model(saved)
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    path = saved / "model.safetensors"
    path.write_bytes(b"\0" * path.stat().st_size)
    assert_equal_states(loaded.state_dict(), before)


def test_saving_over_an_older_checkpoint_replaces_it(saved, model):
    save_model(model, saved, dtype=torch.float16)
    assert describe_checkpoint(saved).dtypes.keys() <= {"float16", "int64"}
    assert not list(saved.glob("*.part"))


def test_weights_too_large_for_the_file_dtype_are_not_saved(tmp_path, tiny_model):
    with torch.no_grad():
        tiny_model.llm.lm_head.weight[0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"llm\.lm_head\.weight.*float16.*wider dtype"):
        save_model(tiny_model, tmp_path)


# The released layout


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("every_alias", [True, False])
def test_release_loads_strictly_and_exactly(tmp_path, weights, form, shards, every_alias):
    folder = write_release(tmp_path, weights, form=form, shards=shards, every_alias=every_alias)
    state = load_model(folder).state_dict()
    expected = rename_release_keys(
        {name: value for name, value in weights.items() if not name.startswith(("sd.", "ip2p."))}
    )
    assert set(state) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor.float()), name


def test_safetensors_are_taken_before_bin(tmp_path, weights):
    write_release(tmp_path, weights, form="bin")
    write_release(tmp_path, weights)
    (tmp_path / "pytorch_model-00001-of-00003.bin").write_bytes(b"broken")
    assert describe_checkpoint(tmp_path).file_format == "safetensors"
    load_model(tmp_path)


def test_parts_that_cannot_be_built_are_skipped_with_the_reason(release, caplog):
    with caplog.at_level(logging.INFO):
        load_model(release)
    for part, key in (("image_generation", "sd_config"), ("image_editing", "ip2p_config")):
        assert f"skipped {part}: config.json switches {part} on, but has no {key}" in caplog.text
        assert f"'{part}': 1" in caplog.text


def test_token_ids_come_from_the_folder(release):
    base = SMALL.vocabulary - len(ADDED_TOKENS)
    assert load_model(release).tokens == TokenIds.from_base(base)


def test_token_ids_come_from_tokenizer_json_too(release):
    ids = json.loads((release / "added_tokens.json").read_text())
    added = [{"content": token, "id": index} for token, index in ids.items()]
    (release / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    expected = load_model(release).tokens
    (release / "added_tokens.json").unlink()
    assert load_model(release).tokens == expected


def test_progress_grows_to_the_whole(release):
    calls = []
    load_model(release, progress=lambda done, total: calls.append((done, total)))
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert done[-1] / calls[-1][1] > 0.5


def test_not_strict_keeps_fresh_values_and_leaves_out_the_unexpected(release, caplog):
    edit_shard(release, "safetensors", "vl_bridge.0.weight", None)
    index = release / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    weight_map.pop("vl_bridge.0.weight")
    edit_json(index, weight_map=weight_map)
    loaded = load_model(release, strict=False, dtype=torch.bfloat16)
    assert loaded.projector[0].weight.dtype == torch.bfloat16
    assert loaded.projector[0].weight.std() > 0
    assert "projector.0.weight" in caplog.text


def test_release_without_a_pose_decoder_has_none(tmp_path, weights):
    without = {name: value for name, value in weights.items() if not name.startswith("unipose.")}
    folder = write_release(tmp_path, without)
    with pytest.raises(CheckpointError, match="missing"):
        load_model(folder)
    edit_json(folder / "config.json", use_unipose=False, unipose_config=None)
    assert load_model(folder).pose_decoder is None


# Conversion and description


@pytest.mark.parametrize("form", FORMS)
def test_converted_checkpoint_loads_like_its_source(tmp_path, weights, form):
    source = write_release(tmp_path / "source", weights, form=form)
    (source / "tokenizer.model").write_bytes(b"pieces")
    convert_checkpoint(source, tmp_path / "out", max_shard_bytes=100_000)
    out = tmp_path / "out"
    assert len(list(out.glob("*.safetensors"))) > 2
    assert not list(out.glob("*.part"))
    assert (out / "tokenizer.model").read_bytes() == b"pieces"
    assert (out / "added_tokens.json").is_file()
    converted, original = load_model(out), load_model(source)
    assert converted.config == original.config
    assert converted.tokens == original.tokens
    assert_equal_states(converted.state_dict(), original.state_dict())
    info = describe_checkpoint(out)
    assert info.layout == "vl2_ros"
    assert info.dtypes == {"bfloat16": sum(t.numel() for t in original.state_dict().values())}


def test_conversion_does_not_touch_a_filled_folder(release, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not empty; expected a new or empty folder"):
        convert_checkpoint(release, out)


def test_unequal_aliases_stop_a_conversion_and_leave_no_checkpoint(tmp_path, weights):
    source = write_release(tmp_path / "source", weights)
    name = "gdino.bbox_embed.1.layers.0.weight"
    edit_shard(source, "safetensors", name, weights[name] + 1)
    with pytest.raises(CheckpointError, match="several names with different values"):
        convert_checkpoint(source, tmp_path / "out", max_shard_bytes=20_000)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_model(tmp_path / "out")


@pytest.mark.parametrize("form", FORMS)
def test_description_counts_parts_and_names_decoders(tmp_path, weights, form):
    folder = write_release(tmp_path / "seven", weights, form=form)
    info = describe_checkpoint(folder)
    network = load_model(folder)
    assert (info.name, info.layout, info.file_format) == ("seven", "release", form)
    assert info.parts == {
        part: sum(tensor.numel() for tensor in network.get_submodule(part).state_dict().values())
        for part in info.parts
    }
    assert sum(info.parts.values()) == sum(t.numel() for t in network.state_dict().values())
    assert info.decoders == ("detection_decoder", "pose_decoder")
    assert info.part_bytes == {part: 2 * values for part, values in info.parts.items()}
    assert set(info.unavailable) == {"image_generation", "image_editing"}
    assert list(info.dtypes) == ["bfloat16"]


def test_description_of_a_model_without_detection(tmp_path, tiny_model):
    save_model(tiny_model, tmp_path)
    assert describe_checkpoint(tmp_path).decoders == ()


# Weights that stay in the files


def find_mapped_file(tensor):
    """Return the file that a tensor lies in; None for memory of its own."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, *_, path = line.split(maxsplit=5)
        begin, end = (int(one, 16) for one in addresses.split("-"))
        if begin <= tensor.data_ptr() < end:
            return Path(path) if path.startswith("/") else None
    raise AssertionError("the address is not mapped")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="mappings are read from /proc")
@pytest.mark.parametrize("form", FORMS)
def test_mapped_weights_are_views_of_the_files_and_the_same(tmp_path, weights, form):
    folder = write_release(tmp_path, weights, form=form)
    copied = load_model(folder, dtype=torch.bfloat16)
    mapped = load_model(folder, dtype=torch.bfloat16, mapped=True)
    assert_equal_states(mapped.state_dict(), copied.state_dict())
    assert find_mapped_file(mapped.llm.lm_head.weight).parent == folder
    assert find_mapped_file(copied.llm.lm_head.weight) is None


def test_mapped_weights_of_another_dtype_are_converted(release):
    mapped = load_model(release, mapped=True)
    assert_equal_states(mapped.state_dict(), load_model(release).state_dict())


def test_mapped_weights_are_checked(tmp_path, weights):
    name = "llm.lm_head.weight"
    broken = weights[name].clone()
    broken[3, 5] = float("nan")
    folder = write_release(tmp_path, {**weights, name: broken})
    with pytest.raises(CheckpointError, match=r"llm\.lm_head\.weight contains NaN or infinity as"):
        load_model(folder, dtype=torch.bfloat16, mapped=True)
