"""Read VisionCommand and String messages into a `Request`, checked as far as possible.

Knows the wire's conventions (0 and empty mean "the node's default"); the ranges are `Request`'s.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.node.cameras.camera_image import store_image
from vl2_ros.node.messages.rle import read_mask
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.request import Mode, Request
from vl2_ros.structures import (
    MAX_COMMAND_CHARACTERS,
    MAX_FURTHER_IMAGES,
    MAX_POINTS,
    MAX_VISUAL_PROMPTS,
    PROMPT_POINTS,
    ImageOptions,
    PromptKind,
    VisualPrompt,
    WatchMode,
)

MAX_ID_CHARACTERS = 256
_DEFAULTS = NodeParameters()
#: Bytes of a point and of a run length in a message.
_POINT_BYTES, _RUN_BYTES = 16, 4


@dataclass(frozen=True, slots=True)
class Sender:
    """The fields that every answer to a command repeats, also when the command cannot be used.

    Attributes:
        id: the sender's, or a generated one if it is empty; cut to 256 characters.
        text: the sentence, cut to 4000 characters.
        camera: the requested camera.
    """

    id: str
    text: str
    camera: str = ""


def read_sender(message: Any) -> Sender:
    """Read the sender of a VisionCommand or a String; never fails.

    What cannot be sent back as UTF-8 becomes a question mark.
    """
    text = message.text if hasattr(message, "text") else message.data
    return make_sender(getattr(message, "id", ""), text, getattr(message, "camera", ""))


def make_sender(command_id: str, text: str, camera: str = "") -> Sender:
    """Make the sender of a command from fields of any message; never fails."""
    return Sender(
        id=_echo(command_id, MAX_ID_CHARACTERS) or uuid.uuid4().hex,
        text=_echo(text, MAX_COMMAND_CHARACTERS),
        camera=_echo(camera, MAX_ID_CHARACTERS),
    )


def read_text_command(message: Any, sender: Sender) -> Request:
    """Read a std_msgs/String: ask about the newest image of the first camera.

    Args:
        message: the String.
        sender: what `read_sender` returns for it.

    Raises:
        InputError: if the text cannot be used.
    """
    return Request(text=check_text(message.data), id=sender.id)


def read_mode(message: Any) -> Mode:
    """Read the mode of a VisionCommand.

    Raises:
        InputError: if it is none of the modes.
    """
    try:
        return Mode(message.mode)
    except ValueError:
        modes = ", ".join(f"{mode.value} ({mode.name})" for mode in Mode)
        raise InputError(f"mode must be one of {modes}, got {message.mode}") from None


def _read_watch_mode(value: int) -> WatchMode | None:
    try:
        return WatchMode(value) if value else None
    except ValueError:
        modes = ", ".join(f"{mode.value} ({mode.name})" for mode in WatchMode)
        raise InputError(
            f"watch_mode must be one of {modes}, or 0 for the node's default, got {value}"
        ) from None


def read_command(message: Any, sender: Sender, parameters: NodeParameters = _DEFAULTS) -> Request:
    """Read a VisionCommand of mode ASK or WATCH.

    Declared sizes are checked first, so that a refused command needs no memory for them.

    Args:
        message: the VisionCommand.
        sender: what `read_sender` returns for it.
        parameters: of the node; give the limits of a command's images and size.

    Raises:
        InputError: naming the field, what is expected and what came.
    """
    _check_utf8("id", message.id)
    if len(message.id) > MAX_ID_CHARACTERS:
        raise InputError(
            f"the id has {len(message.id)} characters, at most {MAX_ID_CHARACTERS} are accepted"
        )
    size_bytes = _check_size(message, parameters)
    most = parameters.max_image_pixels
    images = tuple(store_image(image, max_pixels=most) for image in message.images)
    return Request(
        text=check_text(message.text),
        id=sender.id,
        mode=read_mode(message),
        camera=_check_utf8("camera", message.camera),
        rate_hz=float(message.rate_hz),
        duration_s=float(message.duration_s),
        watch_mode=_read_watch_mode(message.watch_mode),
        deadline_s=float(message.deadline_s),
        score_threshold=_read_threshold(float(message.score_threshold)),
        visual_prompts=tuple(_read_prompt(one, len(images)) for one in message.visual_prompts),
        images=images,
        image_options=_read_options(message.image_options),
        size_bytes=size_bytes,
    )


def _check_size(message: Any, parameters: NodeParameters) -> int:
    """Check the declared sizes of a command; return the bytes of its images and prompts."""
    prompts, images = message.visual_prompts, message.images
    _check_count("visual prompts", len(prompts), MAX_VISUAL_PROMPTS)
    _check_count("images", len(images), MAX_FURTHER_IMAGES)
    points = sum(len(one.points) for one in prompts)
    _check_count("points", points, MAX_POINTS)
    runs = sum(len(one.mask.counts) for one in prompts)
    size_bytes = _POINT_BYTES * points + _RUN_BYTES * runs + sum(len(one.data) for one in images)
    if size_bytes > parameters.max_command_mb * 1e6:
        raise InputError(
            f"the images and visual prompts of the command have {size_bytes / 1e6:.1f} MB, at most "
            f"{parameters.max_command_mb:g} MB are accepted (max_command_mb); send smaller images"
        )
    for index, image in enumerate(images, start=1):
        pixels = int(image.height) * int(image.width)
        if pixels > parameters.max_image_pixels:
            raise InputError(
                f"image {index} of the command has {image.width}x{image.height} pixels, the limit "
                f"is {parameters.max_image_pixels} (max_image_pixels); resize it first"
            )
    return size_bytes


def _check_count(what: str, count: int, most: int) -> None:
    if count > most:
        raise InputError(f"the command has {count} {what}, at most {most} are accepted")


def _read_options(message: Any) -> ImageOptions:
    height, width = int(message.height), int(message.width)
    if bool(height) is not bool(width):
        raise InputError(
            f"height and width of an image are given together, or both 0, got {height} and {width}"
        )
    return ImageOptions(
        seed=int(message.seed) or None,
        steps=int(message.steps) or None,
        # NaN is not 0: it stays, and is refused.
        guidance=float(message.guidance) or None,
        image_guidance=float(message.image_guidance) or None,
        size_hw=(height, width) if height else None,
        scheduler=_check_utf8("scheduler", message.scheduler),
    )


def _echo(text: str, most: int) -> str:
    # Lone surrogates stand for bytes that were no UTF-8; they could not be written again.
    return text[:most].encode("utf-8", errors="replace").decode() if text else ""


def check_text(text: str) -> str:
    """Return the text of a command that can be used.

    Raises:
        InputError: if it is empty, too long or no UTF-8.
    """
    if len(text) > MAX_COMMAND_CHARACTERS:
        raise InputError(
            f"the command has {len(text)} characters, at most {MAX_COMMAND_CHARACTERS} are "
            "taken; shorten it"
        )
    if not text.strip():
        raise InputError('the command is empty; say something like "find the red mug"')
    return _check_utf8("command", text)


def _check_utf8(name: str, text: str) -> str:
    # ROS and DDS put U+FFFD in place of bytes that they could not read.
    if any(letter == "\ufffd" or "\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(f"the {name} contains bytes that are not UTF-8; send it encoded in UTF-8")
    return text


def _read_threshold(value: float) -> float | None:
    if not 0.0 <= value <= 1.0:
        raise InputError(f"score_threshold must lie in 0..1, got {value}")
    return value or None


def _read_prompt(message: Any, image_count: int) -> VisualPrompt:
    try:
        kind = PromptKind(message.kind)
    except ValueError:
        kinds = ", ".join(f"{kind.value} ({kind.name})" for kind in PromptKind)
        raise InputError(
            f"the kind of a visual prompt must be one of {kinds}, got {message.kind}"
        ) from None
    if message.image > image_count:
        raise InputError(
            f"a visual prompt points into image {message.image}, but the command has "
            f"{image_count} images (0 is the camera image)"
        )
    least, most = PROMPT_POINTS[kind]
    if not least <= len(message.points) <= most:
        raise InputError(
            f"a visual prompt of kind {kind.name} needs {least} to {most} points, "
            f"got {len(message.points)}"
        )
    points = np.array([(point.x, point.y) for point in message.points], np.float64)
    mask = read_mask(message.mask) if kind is PromptKind.MASK else None
    return VisualPrompt(kind, points.reshape(-1, 2), mask, int(message.image))
