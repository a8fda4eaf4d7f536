from __future__ import annotations

import json
from pathlib import Path

import pytest

from vl2_ros.errors import ConfigError
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.training.embedded.config import embedded_processing_config


def test_saved_settings_come_back(tmp_path: Path) -> None:
    config = ProcessingConfig(vision_side=128, vision_tokens=64, system="", aspect="pad")
    assert config.save(tmp_path).name == "processing.json"
    assert ProcessingConfig.load(tmp_path) == config


def test_null_settings_are_the_default(tmp_path: Path) -> None:
    (tmp_path / "processing.json").write_text('{"vision_side": null, "aspect": "pad"}')
    assert ProcessingConfig.load(tmp_path) == ProcessingConfig(aspect="pad", wording="spoken")


@pytest.mark.golden
def test_settings_of_a_released_checkpoint(golden_dir: Path) -> None:
    path = golden_dir / "release_tiny" / "bin" / "config.json"
    release = json.loads(path.read_text(encoding="utf-8"))
    config = ProcessingConfig.from_model_config(release)
    vision = release["vis_encoder_config"]
    assert config.vision_side == vision["image_size"]
    assert config.vision_tokens == (vision["image_size"] // vision["patch_size"]) ** 2
    assert (config.num_embs, config.num_embs_gen) == (release["num_embs"], release["num_embs_gen"])
    assert config.max_classes == release["gdino_config"]["max_text_len"]
    assert (config.aspect, config.max_tiles) == ("anyres", 4)
    assert (config.decoder_short, config.decoder_long) == (800, 1333)
    assert config.system.startswith("A chat between a curious user")


def test_full_size_release_and_pixel_shuffle() -> None:
    release = {
        "model_type": "visionllmv2",
        "vis_encoder_config": {"image_size": 336, "patch_size": 14},
        "gdino_config": None,
    }
    assert ProcessingConfig.from_model_config(release) == ProcessingConfig()
    shuffled = ProcessingConfig.from_model_config({**release, "use_pixelshuffle": True})
    assert shuffled.vision_tokens == 144


@pytest.mark.parametrize(
    ("release", "message"),
    [
        ({"model_type": "llava"}, "expected model_type visionllmv2, got 'llava'"),
        ({"model_type": "visionllmv2"}, "vis_encoder_config has no 'image_size'"),
    ],
)
def test_another_model_raises(release: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ProcessingConfig.from_model_config(release)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"vision_side": 0}, "vision_side must be at least 1, got 0"),
        ({"max_tiles": 2.0}, "max_tiles must be int, got 2.0"),
        ({"use_im_start_end": 1}, "use_im_start_end must be bool, got 1"),
        ({"aspect": "crop"}, "anyres, pad, resize, got 'crop'"),
        ({"decoder_short": 900, "decoder_long": 800}, "must not be below decoder_short"),
        ({"segment_short": 900, "segment_long": 800}, "must not be below segment_short"),
        ({"wording": "rude"}, "wording must be one of formats, spoken, got 'rude'"),
    ],
)
def test_impossible_settings_raise(field: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ProcessingConfig(**field)


def test_settings_from_before_there_was_a_wording_stay_what_they_were(tmp_path: Path) -> None:
    path = ProcessingConfig(decoder_short=192, decoder_long=256).save(tmp_path)
    values = json.loads(path.read_text())
    for name in ("wording", "segment_short", "segment_long"):
        del values[name]
    path.write_text(json.dumps(values))
    config = ProcessingConfig.load(tmp_path)
    assert (config.wording, config.segment_short, config.segment_long) == ("spoken", 192, 256)
    assert config.for_segments() == config


def test_the_embedded_model_takes_commands_as_spoken() -> None:
    config = ProcessingConfig.load(EMBEDDED_WEIGHTS)
    assert config == embedded_processing_config()
    assert config.wording == "spoken" and config.for_segments() == config


@pytest.mark.parametrize("content", [None, "{", "[1]", '{"colour": 3}'])
def test_unreadable_file_raises(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "processing.json").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="processing.json"):
        ProcessingConfig.load(tmp_path)


def test_images_are_cut_into_fewer_tiles() -> None:
    assert ProcessingConfig().limit_tiles(2) == ProcessingConfig(max_tiles=2)
    assert ProcessingConfig(max_tiles=1).limit_tiles(1) == ProcessingConfig(max_tiles=1)


@pytest.mark.parametrize(
    ("config", "most", "own"),
    [
        (ProcessingConfig(), 5, 4),
        (ProcessingConfig(), 0, 4),
        (ProcessingConfig(), -1, 4),
        # Without a grid there is one tile, whatever the settings say.
        (ProcessingConfig(aspect="pad"), 2, 1),
    ],
)
def test_more_tiles_than_the_checkpoint_s_own_are_refused(
    config: ProcessingConfig, most: int, own: int
) -> None:
    with pytest.raises(ConfigError, match=f"at most the checkpoint's own {own} .*, got {most}"):
        config.limit_tiles(most)
