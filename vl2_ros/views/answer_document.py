"""The JSON document of an answer: one set of keys, whoever prints it.

`answer.schema.json` beside this file is its published form; `SCHEMA` grows when a key changes its
meaning or goes. New keys may come at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl2_ros.structures import Result
from vl2_ros.views.result_json import result_to_json

SCHEMA = 1
SCHEMA_FILE = Path(__file__).with_name("answer.schema.json")


@dataclass(frozen=True, slots=True)
class AnswerSource:
    """What is known about an answer beside its result.

    Attributes:
        command: the sentence.
        image: file or recording that the image is from; None without one.
        camera: name of the camera; empty without a node.
        status: OK, or why there is no answer: BUSY, CANCELED, EXPIRED, INVALID, FAILED.
        message: what was expected, what came, what to do; empty: that of the result.
        is_final: False while a watch continues.
        sequence: counts the results of a watch.
        model: name of the checkpoint.
        model_identity: hash of its weights.
        engine: backend and device.
        seconds: that the answer took; None takes the sum of its stages.
        overlay: file of the overlay; None without one.
        files: of the generated or edited images, in their order; empty where none was written.
    """

    command: str
    image: str | None = None
    camera: str = ""
    status: str = "OK"
    message: str = ""
    is_final: bool = True
    sequence: int = 0
    model: str = ""
    model_identity: str = ""
    engine: str = ""
    seconds: float | None = None
    overlay: Path | None = None
    files: Sequence[Path] = ()


def describe_answer(result: Result, source: AnswerSource, *, with_masks: bool) -> dict[str, Any]:
    """Make the JSON document of an answer, or of a result that has none.

    Args:
        result: the result.
        source: where it is from.
        with_masks: add each mask as run lengths.

    Returns:
        `schema`, `error` (null, or an object as `describe_error` makes it), the fields of the
        source and those of `result_to_json`; each image in `images` names its `file` or null.
    """
    document = result_to_json(result, with_masks=with_masks)
    for index, image in enumerate(document["images"]):
        image["file"] = str(source.files[index]) if index < len(source.files) else None
    seconds = sum(result.stage_ms.values()) / 1e3 if source.seconds is None else source.seconds
    is_refused = source.status != "OK"
    return {
        "schema": SCHEMA,
        "error": {"type": source.status, "message": source.message} if is_refused else None,
        "image": source.image,
        "command": source.command,
        "camera": source.camera,
        "status": source.status,
        "message": source.message or result.message,
        "is_final": source.is_final,
        "sequence": source.sequence,
        **document,
        "model": source.model,
        "model_identity": source.model_identity,
        "engine": source.engine,
        "seconds": round(seconds, 4),
        "overlay": None if source.overlay is None else str(source.overlay),
    }


def describe_error(
    error: BaseException, *, image: str | None = None, command: str | None = None
) -> dict[str, Any]:
    """Make the JSON document of an error that came instead of an answer.

    Args:
        error: gives the `type` and the `message`.
        image: file that could not be used; None when the error is about no file.
        command: the sentence; None before one was read.
    """
    return {
        "schema": SCHEMA,
        "error": {"type": type(error).__name__, "message": str(error)},
        "image": image,
        "command": command,
    }
