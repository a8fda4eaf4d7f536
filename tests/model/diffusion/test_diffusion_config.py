"""The configuration of image generation and editing: checks, files, round trips."""

from __future__ import annotations

import dataclasses
import json

import pytest
from transformers import CLIPTokenizer

from tests.model.diffusion.diffusion_sizes import SCHEDULER, TEXT_ENCODER, VAE, unet
from vl2_ros.errors import CheckpointError, ConfigError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.diffusion.caption_tokenizer import CaptionTokenizer
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.diffusion.folder import DiffusionFolder
from vl2_ros.model.parts import IMAGE_PARTS, PARTS

KINDS = ("generation", "editing")
COMPONENTS = {"unet": unet(4), "vae": VAE, "text_encoder": TEXT_ENCODER, "scheduler": SCHEDULER}
EMPTY = (49406, *[49407] * 76)


def change(config, **changes):
    return DiffusionConfig.from_dict({**config.to_dict(), **changes})


@pytest.mark.parametrize("kind", KINDS)
def test_config_survives_json(kind):
    config = DiffusionConfig.tiny(kind)
    plain = json.loads(json.dumps(config.to_dict()))
    assert DiffusionConfig.from_dict(plain) == config
    assert DiffusionConfig.from_dict(plain).to_dict() == config.to_dict()


def test_model_config_with_images_survives_json():
    config = ModelConfig.tiny(with_pose=True, with_images=True)
    plain = json.loads(json.dumps(config.to_dict()))
    assert ModelConfig.from_dict(plain) == config
    assert config.parts == tuple(PARTS)
    assert ModelConfig.tiny().parts == ("region_encoder", "detection_decoder")
    older = {name: value for name, value in plain.items() if name not in IMAGE_PARTS}
    assert ModelConfig.from_dict(older).image_editing is None


def test_parts_are_kept_by_name():
    config = ModelConfig.tiny(with_pose=True, with_images=True)
    for part in PARTS:
        assert config.keep_parts((part,)).parts == (part,)
    assert config.keep_parts(config.parts) == config
    assert config.keep_parts(()).parts == ()
    with pytest.raises(ConfigError, match=r"unknown parts \['sd'\]"):
        config.keep_parts(("sd",))


def test_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DiffusionConfig.tiny().drop_rate = 0.5


# A release


def test_released_values_are_read_and_others_left():
    release = {
        "llm_hidden_size": 64,
        "num_embed_tokens": 6,
        "sd_hidden_size": 768,
        "num_queries": 77,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        "cfg_drop_rate": 0.2,
        "cfg_scale": 7.5,
        "torch_dtype": None,
        "max_length": 20,
    }
    config = DiffusionConfig.from_release(release, COMPONENTS, EMPTY, kind="generation")
    assert (config.llm_width, config.num_slots, config.text_width) == (64, 6, 768)
    assert (config.encoder_layers, config.decoder_layers, config.drop_rate) == (2, 3, 0.2)
    assert config.scheduler["_class_name"] == "PNDMScheduler"
    assert "_class_name" not in config.denoiser and "_diffusers_version" not in config.vae
    # A dtype that a folder was once saved with must not decide ours.
    assert set(config.text_encoder).isdisjoint({"torch_dtype", "architectures", "model_type"})
    assert json.loads(json.dumps(config.to_dict())) == config.to_dict()


def test_drop_rates_default_to_the_trained_ones():
    rates = {
        kind: DiffusionConfig.from_release(
            {}, {**COMPONENTS, "unet": unet(4 if kind == "generation" else 8)}, EMPTY, kind=kind
        ).drop_rate
        for kind in KINDS
    }
    assert rates == {"generation": 0.1, "editing": 0.05}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "video"}, "kind must be one of generation, editing"),
        ({"kind": "editing"}, "in_channels must be 8 for editing, got 4"),
        ({"text_width": 64}, "cross_attention_dim must be 64 .* got 32"),
        ({"unconditional_ids": [1, 2]}, "number of unconditional_ids must be 77 .* got 2"),
        ({"unconditional_ids": [40] * 77}, r"unconditional_ids must lie in 0\.\.39"),
        ({"num_slots": 0}, r"num_slots must be an int in 1\.\.65536, got 0"),
        ({"encoder_layers": 1.5}, "encoder_layers must be an int"),
        ({"drop_rate": 0.4}, r"drop_rate must lie in 0\.\.1/3, got 0.4"),
        ({"vae": {}}, "vae config lacks .'latent_channels', 'block_out_channels'."),
        ({"scheduler": {"num_train_timesteps": 9}}, "scheduler config lacks .'_class_name'."),
        ({"colour": 1}, r"unknown fields \['colour'\]"),
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        change(DiffusionConfig.tiny(), **changes)


def test_text_encoder_must_be_long_enough():
    config = DiffusionConfig.tiny()
    short = {**config.text_encoder, "max_position_embeddings": 60}
    with pytest.raises(ConfigError, match="max_position_embeddings must be at least 77, got 60"):
        change(config, text_encoder=short)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("image_generation", {"llm_width": 65}, r"\(65, 6\) from the super link, the LLM gives"),
        ("image_editing", {"num_slots": 7}, r"\(64, 7\) from the super link"),
    ],
)
def test_the_super_link_must_fit(part, changes, message):
    config = ModelConfig.tiny(with_images=True)
    values = {**config.to_dict(), part: {**getattr(config, part).to_dict(), **changes}}
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict(values)


def test_a_part_must_be_of_its_kind():
    config = ModelConfig.tiny(with_images=True)
    with pytest.raises(ConfigError, match="image_editing must be of kind 'editing', got 'gener"):
        dataclasses.replace(config, image_editing=config.image_generation)


# The empty text


def write_tokenizer(folder, special, config=None, vocabulary=None, added=None):
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(parents=True)
    files = {
        "special_tokens_map.json": special,
        "tokenizer_config.json": config,
        "vocab.json": vocabulary or {"<s>": 3, "</s>": 4, "!": 0},
        "added_tokens.json": added,
    }
    for name, values in files.items():
        if values is not None:
            (tokenizer / name).write_text(json.dumps(values))
    return DiffusionFolder(folder)


def test_the_empty_text_is_start_end_and_padding(tmp_path):
    marked = {"content": "<s>", "lstrip": False}
    folder = write_tokenizer(
        tmp_path,
        {"bos_token": marked, "eos_token": "</s>"},
        {"pad_token": "!", "eos_token": "</s>"},
    )
    assert folder.read_unconditional_ids(5) == (3, 4, 0, 0, 0)


def test_added_tokens_have_ids_too(tmp_path):
    names = {f"{kind}_token": "<end>" for kind in ("bos", "eos", "pad")}
    folder = write_tokenizer(tmp_path, names, added={"<end>": 77})
    assert folder.read_unconditional_ids(3) == (77, 77, 77)


@pytest.mark.golden
def test_a_tokenizer_in_one_file_gives_the_same(golden_dir, tmp_path):
    original = golden_dir / "release_tiny" / "checkpoints" / "stable-diffusion-v1-5"
    saved = CLIPTokenizer.from_pretrained(original / "tokenizer", local_files_only=True)
    saved.save_pretrained(tmp_path / "tokenizer")
    assert not (tmp_path / "tokenizer" / "vocab.json").exists()
    expected = DiffusionFolder(original).read_unconditional_ids(77)
    assert DiffusionFolder(tmp_path).read_unconditional_ids(77) == expected
    captions = ["", "a red boat"]
    one_file = CaptionTokenizer(tmp_path / "tokenizer", 77)(captions)
    assert one_file.tolist() == CaptionTokenizer(original / "tokenizer", 77)(captions).tolist()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json has no vocabulary"):
        DiffusionFolder(tmp_path).read_unconditional_ids(77)


@pytest.mark.parametrize("special", [{}, {"bos_token": "<s>", "eos_token": "</s>"}])
def test_a_tokenizer_that_does_not_say_its_padding_is_refused(tmp_path, special):
    folder = write_tokenizer(tmp_path, special)
    with pytest.raises(CheckpointError, match="names None as (bos|pad)_token"):
        folder.read_unconditional_ids(5)
