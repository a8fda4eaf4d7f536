"""Read what a page sends: sentences with points and boxes, stops, and "shown"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Any

import numpy as np

from vl2_ros.documents import check_list, check_number, check_object, check_text, parse_json
from vl2_ros.errors import InputError
from vl2_ros.structures import (
    MAX_COMMAND_CHARACTERS,
    MAX_VISUAL_PROMPTS,
    PROMPT_POINTS,
    PromptKind,
    VisualPrompt,
)

#: Of one message in bytes; a sentence of 4000 characters and 64 boxes fit.
MAX_MESSAGE_BYTES = 1 << 16
_MOST_ID_CHARACTERS = 256
#: Coordinates of a point are below this, as the sides of images are.
_FAR = 1e6
_KINDS = {"point": PromptKind.POINT, "box": PromptKind.BOX}


class PageMode(Enum):
    """What a page wants."""

    ASK = "ask"
    WATCH = "watch"
    STOP = "stop"
    SHOWN = "shown"


@dataclass(frozen=True, slots=True, eq=False)
class PageCommand:
    """One message of a page.

    Attributes:
        mode: ask or watch a sentence, stop a command; or the page has shown a frame.
        text: the sentence.
        id: of the command that is stopped.
        visual_prompts: points and boxes in pixels of the camera.
    """

    mode: PageMode
    text: str = ""
    id: str = ""
    visual_prompts: tuple[VisualPrompt, ...] = ()


def read_page_command(text: str) -> PageCommand:
    """Read a message of a page.

    Raises:
        InputError: naming the field, what is expected and what came.
    """
    document = parse_json(text, "the message", InputError)
    fields = check_object("the message", document, error=InputError)
    modes = [one.value for one in PageMode]
    if fields.get("type") not in modes:
        raise InputError(f"type must be one of {', '.join(modes)}, got {fields.get('type')!r:.100}")
    mode = PageMode(fields["type"])
    if mode is PageMode.SHOWN:
        return PageCommand(mode)
    if mode is PageMode.STOP:
        return PageCommand(mode, id=_read_text("id", fields, _MOST_ID_CHARACTERS))
    prompts = check_list("prompts", fields.get("prompts", []), error=InputError)
    if len(prompts) > MAX_VISUAL_PROMPTS:
        raise InputError(f"a sentence points at {MAX_VISUAL_PROMPTS} places at most")
    return PageCommand(
        mode,
        text=_read_text("text", fields, MAX_COMMAND_CHARACTERS),
        visual_prompts=tuple(_read_prompt(one) for one in prompts),
    )


def _read_text(name: str, fields: Mapping[str, Any], most: int) -> str:
    text = check_text(name, fields.get(name), error=InputError)
    if not text.strip() or len(text) > most:
        raise InputError(f"{name} must have 1 to {most} characters, got {len(text)}")
    return text


def _read_prompt(value: Any) -> VisualPrompt:
    fields = check_object("a prompt", value, error=InputError)
    kind = _KINDS.get(str(fields.get("kind")))
    if kind is None:
        raise InputError(f"the kind of a prompt must be one of {', '.join(_KINDS)}")
    points = check_list("points", fields.get("points"), error=InputError)
    _, most = PROMPT_POINTS[kind]
    if len(points) > most or not all(isinstance(one, list) and len(one) == 2 for one in points):
        raise InputError(f"points of a {kind.name.lower()} must be {most} pairs of x and y")
    numbers = [
        check_number("a coordinate", one, least=0.0, most=_FAR, error=InputError)
        for one in chain.from_iterable(points)
    ]
    return VisualPrompt(kind, np.array(numbers, np.float64).reshape(-1, 2))
