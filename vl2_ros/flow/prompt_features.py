"""Compute the language model's inputs of a prompt: token ids, image and region features.

Needs numpy only; never asks which backend the engines have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.flow.engine_ranges import most_of
from vl2_ros.flow.frame_memory import FrameMemory
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import count_tiles, preprocess_vision
from vl2_ros.processing.images.regions import preprocess_region_square
from vl2_ros.processing.language.command_prompt import CommandPrompt
from vl2_ros.processing.language.prompt import encode_conversation
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.runtime.engine import Array, Engines, count_bytes
from vl2_ros.structures import Frame


@dataclass(frozen=True, slots=True, eq=False)
class PromptInputs:
    """A prompt as input of the networks.

    Attributes:
        ids: (T,) int64.
        pixels: (n, 3, S, S) tiles of all images.
        tile_index: (R,) int64, the tile that each region lies on: the last of its image.
        region_masks: (R, S, S) float32 of 0 and 1, or None.
        frame: the only image, whose features serve further commands about it; None where there
            is none, or more than one.
        is_squashed: whether tiles show the whole image, squashed, as regions need it.
    """

    ids: np.ndarray
    pixels: np.ndarray
    tile_index: np.ndarray
    region_masks: np.ndarray | None
    frame: Frame | None
    is_squashed: bool


@dataclass(frozen=True, slots=True, eq=False)
class PromptFeatures:
    """Features of images and regions.

    Attributes:
        image_tokens: (M, C), one for each `<im_patch>` id; None without images.
        region_features: (R, C), one for each `<region>` id; None without regions.
    """

    image_tokens: Array | None
    region_features: Array | None


def prepare_prompt(
    prompt: CommandPrompt,
    tokenizer: Tokenizer,
    config: ProcessingConfig,
    memory: FrameMemory | None = None,
) -> PromptInputs:
    """Turn a prompt into ids and pixels.

    Args:
        prompt: the prompt.
        tokenizer: of the checkpoint.
        config: how images are cut.
        memory: what was computed about its only image; None: nothing, and nothing is kept.

    Raises:
        InputError: if it is longer than the model accepts, or an image is too long and thin.
    """
    tiles = [count_tiles(frame.frame_hw, config) for frame in prompt.frames]
    rounds = [(prompt.format.question, prompt.format.answer)]
    ids, _ = encode_conversation(rounds, tokenizer, config, tile_counts=tiles)
    # Regions lie on the whole image, so nothing of it may be cut off or padded.
    is_squashed = bool(prompt.region_frames) and config.aspect != "anyres"

    def make_tiles() -> np.ndarray:
        if is_squashed:
            made = [preprocess_region_square(frame, config)[None] for frame in prompt.frames]
        else:
            made = [preprocess_vision(frame, config) for frame in prompt.frames]
        # The first one only gives the shape of the tiles where there is no image.
        nothing = np.zeros((0, 3, config.vision_side, config.vision_side), np.float32)
        return np.concatenate([nothing, *made])

    frame = prompt.frames[0] if len(prompt.frames) == 1 else None
    memory = FrameMemory() if memory is None else memory
    pixels = memory.get(frame, ("tiles", is_squashed), make_tiles, lambda made: made.nbytes)
    last_tiles = np.cumsum(tiles, dtype=np.int64) - 1
    tile_index = last_tiles[list(prompt.region_frames)]
    return PromptInputs(ids, pixels, tile_index, prompt.region_masks, frame, is_squashed)


def encode_draft(
    prompt: CommandPrompt, inputs: PromptInputs, tokenizer: Tokenizer, config: ProcessingConfig
) -> tuple[int, ...]:
    """Return the expected answer to a prompt as the ids that the model would generate.

    Args:
        prompt: whose answer is not known.
        inputs: of the prompt.
        tokenizer: tokenizer of the model.
        config: processing of the model.

    Returns:
        ids without slots and end token; () where no answer is expected or it is too long.
    """
    if not prompt.expected:
        return ()
    tiles = [count_tiles(frame.frame_hw, config) for frame in prompt.frames]
    rounds = [(prompt.format.question, prompt.expected)]
    try:
        ids, _ = encode_conversation(rounds, tokenizer, config, tile_counts=tiles)
    except InputError:  # too long with its answer; the prompt alone is not
        return ()
    passed_over = {*tokenizer.tokens.slots, *tokenizer.tokens.ends}
    drafted = ids[len(inputs.ids) :].tolist()
    return tuple(token_id for token_id in drafted if token_id not in passed_over)


def check_regions(prompt: CommandPrompt, engines: Engines) -> None:
    """Check that the model supports visual prompts, if there are any.

    Raises:
        InputError: if the prompt has regions and the model no region encoder.
    """
    if not prompt.region_frames or engines.region_encoder is not None:
        return
    reason = "the checkpoint has no region encoder"
    if "region_encoder" in engines.absent:
        reason = f"region_encoder is not loaded ({engines.absent['region_encoder']})"
    raise InputError(
        f"{reason}, so it cannot look where a command points; "
        f"expected a command without visual prompts, got {len(prompt.region_frames)}"
    )


def encode_features(
    inputs: PromptInputs, engines: Engines, memory: FrameMemory | None = None
) -> PromptFeatures:
    """Encode the images and the regions, where there are any.

    Args:
        inputs: from `prepare_prompt`.
        engines: encode.
        memory: what was computed about the only image; None: nothing, and nothing is kept.

    Raises:
        InputError: if there are more tiles or regions than the engines accept at once.
    """
    if not len(inputs.pixels):
        return PromptFeatures(None, None)
    _check_counts(inputs, engines)
    encoder = engines.vision_encoder
    encoded = (FrameMemory() if memory is None else memory).get(
        inputs.frame,
        (encoder, inputs.is_squashed),
        lambda: encoder.run({"pixels": inputs.pixels}),
        count_bytes,
    )
    if engines.region_encoder is None or inputs.region_masks is None:
        return PromptFeatures(encoded["image_tokens"], None)
    regions = engines.region_encoder.run(
        {
            "pixels": inputs.pixels,
            "region_maps": encoded["region_maps"],
            "masks": inputs.region_masks,
            "tile_index": inputs.tile_index,
        }
    )
    return PromptFeatures(encoded["image_tokens"], regions["region_features"])


def _check_counts(inputs: PromptInputs, engines: Engines) -> None:
    """Check tiles and regions against what the engines were built for."""
    readers = [engines.vision_encoder]
    if engines.region_encoder is not None and inputs.region_masks is not None:
        readers.append(engines.region_encoder)
    counts = {"tiles": len(inputs.pixels), "regions": len(inputs.tile_index)}
    for reader in readers:
        for axis, count in counts.items():
            most = most_of(reader.info.ranges, axis)
            if count > most:
                raise InputError(
                    f"the command has {count} {axis}, {reader.info.graph} was built for {most} at "
                    "once; give fewer images or visual prompts, lower max_tiles, or build it again "
                    f"with a wider range of {axis}"
                )
