"""Compute the language model's inputs of a prompt: token ids, image and region features.

Needs numpy only; never asks which backend the engines have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from vl2_ros.runtime.engine import Array, Engine, Engines, count_bytes, to_numpy
from vl2_ros.structures import Frame


@dataclass(frozen=True, slots=True, eq=False)
class PromptInputs:
    """A prompt as input of the networks.

    Attributes:
        ids: (T,) int64.
        pixels: (n, 3, S, S) tiles of all images.
        tile_index: (R,) int64, the tile that each region lies on: the last of its image.
        region_masks: (R, S, S) float32 of 0 and 1, or None.
        frame: the image whose features serve further commands about it; None where there is none.
        is_of_frame: (n,) bool, the tiles that are of the frame.
        is_squashed: whether tiles show the whole image, squashed, as regions need it.
    """

    ids: np.ndarray
    pixels: np.ndarray
    tile_index: np.ndarray
    region_masks: np.ndarray | None
    frame: Frame | None
    is_of_frame: np.ndarray
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
    frame: Frame | None = None,
    memory: FrameMemory | None = None,
) -> PromptInputs:
    """Turn a prompt into ids and pixels.

    Args:
        prompt: the prompt.
        tokenizer: of the checkpoint.
        config: how images are cut.
        frame: the one of its images that further commands may be about; None: none is.
        memory: what was computed about the frame; None: nothing, and nothing is kept.

    Raises:
        InputError: if it is longer than the model accepts, or an image is too long and thin.
    """
    tiles = [count_tiles(frame.frame_hw, config) for frame in prompt.frames]
    rounds = [(prompt.format.question, prompt.format.answer)]
    ids, _ = encode_conversation(rounds, tokenizer, config, tile_counts=tiles)
    # Regions lie on the whole image, so nothing of it may be cut off or padded.
    is_squashed = bool(prompt.region_frames) and config.aspect != "anyres"

    memory = FrameMemory() if memory is None else memory

    def make_tiles(image: Frame) -> np.ndarray:
        if is_squashed:
            return preprocess_region_square(image, config)[None]
        return preprocess_vision(image, config)

    def find_tiles(image: Frame) -> np.ndarray:
        seen = image if image is frame else None
        key = ("tiles", is_squashed)
        return memory.get(seen, key, lambda: make_tiles(image), lambda made: made.nbytes)

    made = [find_tiles(image) for image in prompt.frames]
    # A command may show the frame once more, which is then another image.
    place = next((index for index, one in enumerate(prompt.frames) if one is frame), None)
    # What is empty only gives the shape of the tiles where there is no image.
    nothing = np.zeros((0, 3, config.vision_side, config.vision_side), np.float32)
    last_tiles = np.cumsum(tiles, dtype=np.int64) - 1
    return PromptInputs(
        ids,
        made[0] if len(made) == 1 else np.concatenate([nothing, *made]),
        last_tiles[list(prompt.region_frames)],
        prompt.region_masks,
        frame,
        np.repeat(np.arange(len(tiles)), tiles) == (-1 if place is None else place),
        is_squashed,
    )


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

    What is kept of the frame is used; further images are encoded in one call of their own.

    Args:
        inputs: from `prepare_prompt`.
        engines: encode.
        memory: what was computed about the frame; None: nothing, and nothing is kept.

    Raises:
        InputError: if there are more tiles or regions than the engines accept at once.
    """
    if not len(inputs.pixels):
        return PromptFeatures(None, None)
    _check_counts(inputs, engines)
    parts = _encode_images(inputs, engines, FrameMemory() if memory is None else memory)
    image_tokens = _gather([(one.tiles, one.encoded["image_tokens"]) for one in parts])
    encoder, masks = engines.region_encoder, inputs.region_masks
    if encoder is None or masks is None:
        return PromptFeatures(image_tokens, None)
    regions = [_encode_regions(inputs, masks, one, encoder) for one in parts]
    return PromptFeatures(image_tokens, _gather([one for one in regions if one is not None]))


def find_view(inputs: PromptInputs, image_tokens: Array) -> np.ndarray:
    """Return the tokens (N, C) of the last tile of the frame, which shows all of it.

    Args:
        inputs: of a prompt with the frame.
        image_tokens: of all its images.
    """
    tokens = to_numpy(image_tokens)
    by_tile = tokens.reshape(len(inputs.pixels), -1, tokens.shape[-1])
    return np.asarray(by_tile[np.flatnonzero(inputs.is_of_frame)[-1]])


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Images that were encoded together: indices of their tiles, and what came of them."""

    tiles: np.ndarray
    encoded: Mapping[str, Array]


def _encode_images(inputs: PromptInputs, engines: Engines, memory: FrameMemory) -> list[_Part]:
    """Encode the frame, if nothing is kept of it, and the other images."""
    encoder = engines.vision_encoder

    def encode(tiles: np.ndarray) -> Mapping[str, Array]:
        is_all = len(tiles) == len(inputs.pixels)
        return encoder.run({"pixels": inputs.pixels if is_all else inputs.pixels[tiles]})

    own, others = np.flatnonzero(inputs.is_of_frame), np.flatnonzero(~inputs.is_of_frame)
    parts = []
    if len(own):
        key = (encoder, inputs.is_squashed)
        parts.append(_Part(own, memory.get(inputs.frame, key, lambda: encode(own), count_bytes)))
    if len(others):
        parts.append(_Part(others, encode(others)))
    return parts


def _encode_regions(
    inputs: PromptInputs, masks: np.ndarray, part: _Part, encoder: Engine
) -> tuple[np.ndarray, Array] | None:
    """Return indices of the regions on some images, and their features; None without any."""
    where = np.flatnonzero(np.isin(inputs.tile_index, part.tiles))
    if not len(where):
        return None
    is_all = len(part.tiles) == len(inputs.pixels)
    regions = encoder.run(
        {
            "pixels": inputs.pixels if is_all else inputs.pixels[part.tiles],
            "region_maps": part.encoded["region_maps"],
            "masks": masks[where],
            "tile_index": np.searchsorted(part.tiles, inputs.tile_index[where]),
        }
    )
    return where, regions["region_features"]


def _gather(parts: Sequence[tuple[np.ndarray, Array]]) -> Array:
    """Join what belongs to indices, the same number of rows to each, in the order of these."""
    if len(parts) == 1:
        return parts[0][1]
    rows = [to_numpy(array).reshape(len(index), -1, array.shape[-1]) for index, array in parts]
    order = np.argsort(np.concatenate([index for index, _ in parts]))
    return np.concatenate(rows)[order].reshape(-1, rows[0].shape[-1])


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
