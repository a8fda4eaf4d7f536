"""Settings of pre- and post-processing for one model; saved as `processing.json` beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from vl2_ros.documents import read_json_object, shorten, take_int, take_object, write_whole
from vl2_ros.errors import ConfigError

FILE_NAME = "processing.json"
#: Most pixels of a side, and most of any other count; far above what a network needs.
_MAX_COUNT = 1 << 20
_MAX_SIDE = 1 << 14
ASPECTS = ("anyres", "pad", "resize")
WORDINGS = ("formats", "spoken")
VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


@dataclass(frozen=True, slots=True)
class ProcessingConfig:
    """Sizes and formats of pre- and post-processing; the defaults are the released 7B model's.

    Attributes:
        vision_side: side of one square CLIP tile, in pixels.
        vision_tokens: `<im_patch>` tokens per tile.
        aspect: "anyres" (grid of tiles plus thumbnail), "pad" (to a square) or "resize" (centre
            crop of the resized image).
        max_tiles: most tiles of the anyres grid, thumbnail not counted.
        decoder_short: most pixels of the short side at the perception decoders.
        decoder_long: most pixels of the long side there.
        decoder_multiple: its canvas is padded to a multiple of this.
        segment_short: the same as decoder_short for [SEG], classes of pixels.
        segment_long: the same as decoder_long for [SEG].
        system: system text of the conversation; "" starts with the first round.
        num_embs: slots after a perception routing token.
        num_embs_gen: slots after [GEN] and [EDIT].
        use_im_start_end: wrap the patch tokens of an image in `<img>` and `</img>`.
        max_length: longest token sequence, patch and slot tokens included.
        max_classes: most names in one detection call.
        max_keypoints: most keypoint names in one pose call.
        detect_answer: fixed answer of one-pass detection; {names} is the list of names, each with
            its routing token, {token} the token alone.
        segment_answer: the same for masks.
        ground_answer: the same for one expression.
        joined_masks: a thing's mask may reach to other things, so that parts of it that do not
            touch its box are dropped.
        wording: "formats" puts commands of a known kind into the sentences that the released model
            was trained on; "spoken" passes the command to the model unchanged.
    """

    vision_side: int = 336
    vision_tokens: int = 576
    aspect: str = "anyres"
    max_tiles: int = 4
    decoder_short: int = 800
    decoder_long: int = 1333
    decoder_multiple: int = 32
    segment_short: int = 512
    segment_long: int = 2048
    system: str = VICUNA_SYSTEM
    num_embs: int = 4
    num_embs_gen: int = 64
    use_im_start_end: bool = False
    max_length: int = 4096
    max_classes: int = 256
    max_keypoints: int = 68
    detect_answer: str = "I found: {names}."
    segment_answer: str = "I found: {names}."
    ground_answer: str = "Sure, it is here{token}."
    wording: str = "formats"
    joined_masks: bool = False

    def __post_init__(self) -> None:
        """Check ranges and types."""
        for item in fields(self):
            value: Any = getattr(self, item.name)
            wanted: Any = type(item.default)
            if type(value) is not wanted:
                raise ConfigError(f"{item.name} must be {wanted.__name__}, got {shorten(value)}")
            if wanted is int and value < 1:
                raise ConfigError(f"{item.name} must be at least 1, got {shorten(value)}")
            is_side = item.name.endswith(("side", "short", "long", "multiple"))
            most = _MAX_SIDE if is_side else _MAX_COUNT
            if wanted is int and value > most:
                raise ConfigError(f"{item.name} must be at most {most}, got {shorten(value)}")
            if wanted is str and len(value) > _MAX_COUNT:
                raise ConfigError(f"{item.name} must have at most {_MAX_COUNT} letters")
        if self.aspect not in ASPECTS:
            raise ConfigError(
                f"aspect must be one of {', '.join(ASPECTS)}, got {shorten(self.aspect)}"
            )
        if self.wording not in WORDINGS:
            raise ConfigError(
                f"wording must be one of {', '.join(WORDINGS)}, got {shorten(self.wording)}"
            )
        for part in ("decoder", "segment"):
            short, long = getattr(self, f"{part}_short"), getattr(self, f"{part}_long")
            if long < short:
                raise ConfigError(
                    f"{part}_long must not be below {part}_short, got {long} and {short}"
                )

    def for_segments(self) -> ProcessingConfig:
        """Return the settings with which the decoder's image is made for [SEG]."""
        return replace(self, decoder_short=self.segment_short, decoder_long=self.segment_long)

    def limit_tiles(self, most: int) -> ProcessingConfig:
        """Return the settings with which images are cut into fewer tiles.

        Args:
            most: tiles of the grid, thumbnail not counted.

        Raises:
            ConfigError: if that is less than one or more than these settings have.
        """
        own = self.max_tiles if self.aspect == "anyres" else 1
        if not 1 <= most <= own:
            raise ConfigError(
                f"max_tiles must be at most the checkpoint's own {own} and at least 1, got "
                f"{shorten(most)}; 0 takes its own"
            )
        return replace(self, max_tiles=most)

    @classmethod
    def from_model_config(cls, release: Mapping[str, Any]) -> ProcessingConfig:
        """Derive the settings from the config.json of a released checkpoint.

        Args:
            release: content of a config.json of model_type visionllmv2.

        Raises:
            ConfigError: if it is another model's.
        """
        if release.get("model_type") != "visionllmv2":
            raise ConfigError(
                f"expected model_type visionllmv2, got {shorten(release.get('model_type'))}; "
                "give the config.json of a VisionLLM v2 checkpoint"
            )
        vision = take_object(release, "vis_encoder_config")
        for name in ("image_size", "patch_size"):
            if name not in vision:
                raise ConfigError(f"vis_encoder_config has no {name!r}")
        side = take_int(vision, "image_size", least=1, most=_MAX_SIDE)
        patch = take_int(vision, "patch_size", least=1, most=_MAX_SIDE)
        tokens = (side // patch) ** 2 // (4 if release.get("use_pixelshuffle") else 1)
        decoder = take_object(release, "gdino_config")
        pose = take_object(release, "unipose_config")
        default = cls()
        return cls(
            vision_side=side,
            vision_tokens=tokens,
            num_embs=take_int(release, "num_embs", default.num_embs),
            num_embs_gen=take_int(release, "num_embs_gen", default.num_embs_gen),
            max_classes=take_int(decoder, "max_text_len", default.max_classes),
            max_keypoints=take_int(pose, "num_body_points", default.max_keypoints),
        )

    def save(self, folder: Path | str) -> Path:
        """Write `processing.json` into a folder and return its path."""
        path = Path(folder) / FILE_NAME
        text = json.dumps(asdict(self), indent=2) + "\n"
        write_whole(path, partial(_write_text, text))
        return path

    @classmethod
    def load(cls, folder: Path | str) -> ProcessingConfig:
        """Read `processing.json` from a folder.

        Raises:
            ConfigError: if it is missing, no JSON object, or has unknown fields.
        """
        path = Path(folder) / FILE_NAME
        advice = "expected the fields of ProcessingConfig"
        values = read_json_object(path, ConfigError, advice=advice)
        # Null is the default, as a missing field is.
        values = {name: value for name, value in values.items() if value is not None}
        known = {item.name for item in fields(cls)}
        if not known.issuperset(values):
            unknown = shorten(sorted(set(values) - known))
            raise ConfigError(f"{path} must have the fields of ProcessingConfig, got {unknown}")
        # Settings saved before these fields were there: commands went as spoken, and one size
        # served every route.
        earlier = {"wording": "spoken"} | {
            f"segment_{side}": values[f"decoder_{side}"]
            for side in ("short", "long")
            if f"decoder_{side}" in values
        }
        return cls(**(earlier | values))


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
