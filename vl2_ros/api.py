"""The front door for Python: `load` gives a `Model`, calling it gives an `Answer`.

`import vl2` is the same under a shorter name. Robots use the node; this is for scripts, notebooks
and tests, where the image is at hand.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from vl2_ros.documents import shorten
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.processing.images.image_file import read_image, read_pillow_image
from vl2_ros.structures import (
    Command,
    Detections,
    Event,
    Frame,
    GeneratedImage,
    ModelInfo,
    Result,
    Route,
)
from vl2_ros.views.answer_document import AnswerSource, describe_answer
from vl2_ros.views.answer_files import AnswerFiles, save_answer, save_json
from vl2_ros.views.overlay import draw_overlay

#: What `Model` takes as an image; an array is (H, W, 3) uint8 in the order red, green, blue.
ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | np.ndarray | Frame"

_TAKEN = (
    "a path, the bytes of an image file, a PIL image, an (H, W, 3) uint8 array in RGB order or a "
    "vl2.Frame"
)
_COMMAND_OPTIONS = tuple(one.name for one in fields(Command) if one.name != "text")


def load(weights: LoadOptions | str | os.PathLike[str] | None = None, **options: Any) -> Model:
    """Load a model.

    Args:
        weights: a checkpoint folder, released or saved by vl2_ros; None loads the embedded model.
            Complete `LoadOptions` go here as well.
        **options: fields of `LoadOptions` by name, such as `device="cuda"` or
            `backend="tensorrt"`.

    Returns:
        The model, ready to be called.

    Raises:
        ConfigError: if an option has no such name or value.
        CheckpointError: if the folder is missing, incomplete, damaged or of another model.
        EngineError: if the device is not there, or its engines cannot be used.
    """
    names = [one.name for one in fields(LoadOptions)]
    unknown = [name for name in options if name not in names]
    if unknown:
        raise ConfigError(f"expected options among {', '.join(names)}, got {', '.join(unknown)}")
    if isinstance(weights, LoadOptions):
        return Model(load_pipeline(replace(weights, **options)))
    return Model(load_pipeline(LoadOptions(weights=weights or "", **options)))


class Model:
    """A loaded model; call it with an image and a sentence.

    One call runs at a time; models share nothing, so that each thread may have its own.

    Args:
        pipeline: the flow with its engines.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    @property
    def info(self) -> ModelInfo:
        """Name, identity, inference backend, device and routes."""
        return self.pipeline.info

    def __call__(self, image: ImageLike | None, command: str | Command, **options: Any) -> Answer:
        """Answer a sentence about an image.

        Args:
            image: what the sentence is about: a path, the bytes of an image file, a PIL image, an
                (H, W, 3) uint8 array in the order red, green, blue (OpenCV reads blue first:
                `array[..., ::-1]`), or a `Frame`. None where an image is to be generated.
            command: a sentence, or a `Command` with visual prompts, further images and limits.
            **options: fields of `Command` for a sentence, such as `score_threshold=0.5`.

        Raises:
            InputError: if image, command or options cannot be used.
            RouteError: if the answer needs a decoder that is not loaded.
            EngineError: if an engine failed.
        """
        frame, asked = read_frame(image), make_command(command, options)
        return Answer(frame, asked, self.pipeline.answer(frame, asked), self.info)

    def stream(
        self, image: ImageLike | None, command: str | Command, **options: Any
    ) -> Iterator[Event]:
        """Answer as a call does, event by event: stages, words, denoising steps, the result.

        Closing the iterator stops the run. Arguments and errors are those of a call.
        """
        return self.pipeline.run(read_frame(image), make_command(command, options))

    def __repr__(self) -> str:
        info = self.info
        routes = " ".join(route.value for route in info.routes if route.value)
        return f"Model({info.name}, {info.backend} on {info.device}, {routes})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Answer:
    """What a model answered, with the image that it is about.

    Attributes:
        frame: the image; None where there was none.
        command: what was asked.
        result: the complete typed result, branch by branch, as the node publishes it.
        model: what gave the answer.
    """

    frame: Frame | None
    command: Command
    result: Result
    model: ModelInfo

    @property
    def text(self) -> str:
        """The answer in words."""
        return self.result.text

    @property
    def routes(self) -> tuple[Route, ...]:
        """What the answer opened, in order; (Route.ANSWER,) for words alone."""
        return self.result.routes

    @property
    def detections(self) -> Detections:
        """The instances of all branches, in the order of the answer; `routes` says whose."""
        return self.result.detections

    @property
    def images(self) -> tuple[GeneratedImage, ...]:
        """Generated and edited images."""
        return self.result.images

    def draw(self) -> np.ndarray:
        """Draw the answer into its image.

        Returns:
            (H', W', 3) uint8 RGB: the overlay; without a frame the first generated image.

        Raises:
            InputError: if there is neither.
        """
        if self.frame is not None:
            return draw_overlay(self.frame, self.result, question=self.command.text)
        if self.images:
            return self.images[0].rgb
        raise InputError(
            "the answer has neither a frame to draw into nor a generated image; its words are in "
            "`text`"
        )

    def to_json(self, *, with_masks: bool = True) -> dict[str, Any]:
        """Return plain JSON values, see `vl2_ros.views.answer_document.describe_answer`."""
        source = AnswerSource(
            self.command.text,
            model=self.model.name,
            model_identity=self.model.identity,
            engine=self.model.engine,
        )
        return describe_answer(self.result, source, with_masks=with_masks)

    def save(self, path: str | os.PathLike[str]) -> AnswerFiles:
        """Write the answer.

        Args:
            path: a name ending in .json writes the JSON with masks; any other an image: what was
                generated or edited, numbered when there are several, else the overlay; of an
                answer that has both, the overlay goes to `NAME_overlay`.

        Returns:
            The files that were written.

        Raises:
            InputError: if there is nothing to draw, or a file cannot be written.
        """
        name = Path(path)
        if name.suffix.lower() == ".json":
            return AnswerFiles(document=save_json(self.to_json(), name))
        if self.frame is None and not self.images:
            self.draw()
        return save_answer(self.frame, self.command.text, self.result, name)

    def _repr_png_(self) -> bytes | None:
        """Return the drawing for a notebook; None where there is nothing to draw."""
        if self.frame is None and not self.images:
            return None
        file = io.BytesIO()
        Image.fromarray(self.draw()).save(file, format="PNG")
        return file.getvalue()

    def __repr__(self) -> str:
        """Show words and detections, no arrays."""
        parts = [shorten(self.text)]
        if self.result.branches:
            parts.append(repr(self.detections))
        parts += [repr(image) for image in self.images]
        return f"Answer({', '.join(parts)})"


def read_frame(image: ImageLike | None) -> Frame | None:
    """Convert what a caller has to a `Frame`; None stays None.

    Raises:
        InputError: if it is nothing of `ImageLike`, or cannot be read.
    """
    if image is None or isinstance(image, Frame):
        return image
    if isinstance(image, np.ndarray):
        return Frame(_check_array(image))
    if isinstance(image, Image.Image):
        return read_pillow_image(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return read_image(bytes(image))
    if isinstance(image, str | os.PathLike):
        path = os.fsdecode(image)
        if "://" in path:
            raise InputError(f"expected a file, got the address {path!r}; download it first")
        return read_image(path)
    advice = ""
    if hasattr(image, "__array__"):
        advice = "; convert it, for example with numpy.asarray(...) on the CPU"
    elif isinstance(image, list | tuple):
        advice = "; ask about one image a call, or put further ones into vl2.Command(images=...)"
    raise InputError(f"expected {_TAKEN}, got {type(image).__name__}{advice}")


def _check_array(array: np.ndarray) -> np.ndarray:
    """Return the array as contiguous pixels.

    Raises:
        InputError: if it is not (H, W, 3) uint8, saying how it becomes that.
    """
    advice = "convert it"
    if array.ndim == 2 or array.shape[-1:] == (1,):
        advice = "grey becomes RGB by numpy.dstack([grey] * 3)"
    elif array.ndim == 3 and array.shape[2] == 4:
        advice = "drop the fourth channel: array[..., :3]"
    elif array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        advice = "put the channels last: array.transpose(1, 2, 0)"
    elif array.ndim == 4:
        advice = "ask about one image a call"
    elif np.issubdtype(array.dtype, np.floating):
        advice = "of floats in 0..1: (array * 255).round().astype(numpy.uint8)"
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise InputError(
            f"expected an (H, W, 3) uint8 array in RGB order, got {array.shape} {array.dtype}; "
            f"{advice}"
        )
    return np.ascontiguousarray(array)


def make_command(command: str | Command, options: Mapping[str, Any]) -> Command:
    """Make a command of a sentence and fields of `Command`.

    Raises:
        InputError: if it is neither sentence nor command, or an option does not fit.
    """
    if isinstance(command, Command):
        if options:
            raise InputError(
                f"expected options with a sentence, got {', '.join(options)} with a Command; use "
                "dataclasses.replace(command, ...)"
            )
        return command
    if not isinstance(command, str):
        raise InputError(
            f'expected a sentence such as "find the red mug" or a vl2.Command, got '
            f"{type(command).__name__}; the image comes first, then the sentence"
        )
    unknown = [name for name in options if name not in _COMMAND_OPTIONS]
    if unknown:
        raise InputError(
            f"expected options among {', '.join(_COMMAND_OPTIONS)}, got {', '.join(unknown)}"
        )
    return Command(command, **options)
