"""Write the prompt of one model for a command, its images and visual prompts.

The forms of docs/spec/core.md, sections 7.4 and 7.5: plain commands, regions of the image (masks or
talk), and examples in further images. Knows no tokenizer and no network.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.regions import region_mask
from vl2_ros.processing.language.answer import NAMELESS
from vl2_ros.processing.language.parse import Asked, Task, asks_for_mask, understand
from vl2_ros.processing.language.prompt import IMAGE, region_placeholder
from vl2_ros.processing.language.task_formats import TaskFormat, interactive_format, write_format
from vl2_ros.processing.language.tokenizer import neutralise
from vl2_ros.structures import Command, Frame, Route, VisualPrompt

_NUMBERED = re.compile(r"\bregion ?(\d+)\b", re.IGNORECASE)
_MARKED = re.compile(r"<reg>region(\d+)<region></reg>")
#: Words that point; "this picture" does not.
_POINTING = re.compile(
    r"\b(?:th(?:is|ese|ose)|(?:the|each|every|all) (?:marked|selected|given)"
    r"|(?:what|where) (?:i|we) (?:am |are )?point(?:ing|ed)?(?: at| to)?"
    r"|(?<=what is )that|(?<=what's )that|(?<=describe )that)\b"
    r"(?! (?:picture|image|photo|scene|view|frame))"
    r"(?: (?:things?|objects?|regions?|areas?|spots?|places?|ones?|parts?|points?|boxe?s?))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, eq=False)
class CommandPrompt:
    """The prompt of a model, before it is encoded as token ids.

    Attributes:
        format: question, and the answer where it is known.
        frames: the images, in the order of the `<image>` marks; () for image generation.
        region_frames: R indices into `frames`: the image that each region lies on.
        region_masks: (R, S, S) float32 of 0 and 1, in the order of the `<region>` marks; None
            without regions.
        expected: the answer that the model is likely to give, with routing tokens; it is only a
            guess, and empty where there is none.
    """

    format: TaskFormat
    frames: tuple[Frame, ...]
    region_frames: tuple[int, ...] = ()
    region_masks: np.ndarray | None = None
    expected: str = ""


def write_prompt(
    frame: Frame | None,
    command: Command,
    config: ProcessingConfig,
    routes: Collection[Route] = tuple(Route),
) -> CommandPrompt:
    """Write the prompt for a command.

    Args:
        frame: the image that the command is about; decoders look at this one. None when there is
            none, which only image generation allows.
        command: sentence, visual prompts and further images.
        config: processing of the model.
        routes: those of the model. A request for images keeps its own words where the model
            generates none.

    Raises:
        InputError: if a visual prompt lies outside of its image, the sentence speaks of regions
            that have no visual prompt, its names cannot be used, `direct` is set for a sentence
            whose answer only the model knows, or an image is needed and there is none.
    """
    if frame is None:
        prompt = _write_without_image(command, config, routes)
    else:
        prompt = _write_about(frame, command, config, routes)
    if not command.direct:
        # The model's answer decides, also where it would be known.
        expected = prompt.expected or prompt.format.answer or ""
        return replace(prompt, format=replace(prompt.format, answer=None), expected=expected)
    if prompt.format.answer is None:
        raise InputError(
            f"the answer to {command.text!r} is not known before the model gives it; expected a "
            'sentence such as "find the red mug", or direct set to false'
        )
    return prompt


def write_talk(frame: Frame, command: Command, config: ProcessingConfig) -> CommandPrompt:
    """Write the prompt of a sentence that is not parsed; its regions get their placeholders.

    Raises:
        InputError: if a visual prompt lies outside of its image, or the sentence speaks of regions
            that have no visual prompt.
    """
    _check_prompts(frame, command, config)
    frames, prompts = (frame, *command.images), command.visual_prompts
    if not prompts:
        return CommandPrompt(TaskFormat(neutralise(command.text.strip())), frames)
    question = place_regions(command.text, len(prompts))
    return _gather(TaskFormat(question), frames, _sort_by_marks(prompts, question), config)


def _write_about(
    frame: Frame, command: Command, config: ProcessingConfig, routes: Collection[Route]
) -> CommandPrompt:
    _check_prompts(frame, command, config)
    if any(prompt.image for prompt in command.visual_prompts):
        return _write_example(frame, command, config)
    if command.visual_prompts:
        return _write_regions(frame, command, config)
    asked = _understand(command, config, routes)
    # Image generation needs words alone: its prompts were trained without an image.
    frames = () if asked.task is Task.GENERATE else (frame, *command.images)
    expected = _expect_answer(command, config) if config.wording == "spoken" else ""
    return CommandPrompt(write_format(asked, command.text, config), frames, expected=expected)


def _check_prompts(frame: Frame, command: Command, config: ProcessingConfig) -> None:
    command.check_prompts(frame)
    if config.wording == "spoken" and command.images:
        raise InputError(
            "this model accepts sentences about one image; expected a command without further "
            f"images, got {len(command.images)}; load a released checkpoint for them"
        )


def _write_without_image(
    command: Command, config: ProcessingConfig, routes: Collection[Route]
) -> CommandPrompt:
    """Write the prompt for a command without an image."""
    if command.visual_prompts or command.images:
        raise InputError(
            "there is no image to look at; expected one, or a command without visual prompts and "
            f"further images, got {len(command.visual_prompts)} and {len(command.images)}"
        )
    asked = understand(command.text)
    if asked.task is not Task.GENERATE:
        raise InputError(
            f"{command.text.strip()!r} is about an image and there is none; expected an image, "
            'or a request for a new one, such as "draw a red mug"'
        )
    if Route.GENERATE not in routes:
        can = ", ".join(route.name.lower() for route in routes)
        raise InputError(
            f"this model cannot generate images; its routes are: {can}. Give an image to ask "
            "about, or load a checkpoint with image_generation, without excluding it, and install "
            "its library: pip install 'vl2_ros[diffusion]'"
        )
    return CommandPrompt(write_format(asked, command.text, config), ())


def _understand(command: Command, config: ProcessingConfig, routes: Collection[Route]) -> Asked:
    """Parse the task of a command; tasks that the model was not trained on become TALK."""
    if config.wording == "spoken" and not command.direct:
        return Asked(Task.TALK)
    asked = understand(command.text)
    needed = {Task.GENERATE: Route.GENERATE, Task.EDIT: Route.EDIT}.get(asked.task)
    # With further images, the model itself reads which of them is meant.
    is_other = needed is not None and (needed not in routes or command.images)
    return Asked(Task.TALK) if is_other else asked


def _expect_answer(command: Command, config: ProcessingConfig) -> str:
    """Return the answer that a sentence of a known form usually gets from a spoken model."""
    try:
        return write_format(understand(command.text), command.text, config).answer or ""
    except InputError:
        return ""


def _write_regions(frame: Frame, command: Command, config: ProcessingConfig) -> CommandPrompt:
    """Regions of the frame: cut out when the sentence asks for that, else talked about."""
    prompts = command.visual_prompts
    if asks_for_mask(command.text):
        written = interactive_format(len(prompts), config)
    else:
        written = TaskFormat(place_regions(command.text, len(prompts)))
        prompts = _sort_by_marks(prompts, written.question)
    return _gather(written, (frame, *command.images), prompts, config)


def _write_example(frame: Frame, command: Command, config: ProcessingConfig) -> CommandPrompt:
    """Further images show what is meant, the frame, which comes last, is what is asked about."""
    lead, prompts = "", []
    for image in range(1, len(command.images) + 1):
        pointed = [prompt for prompt in command.visual_prompts if prompt.image == image]
        shown = ", ".join(region_placeholder() for _ in pointed)
        lead += f"{IMAGE}\n" + (f"This picture shows {shown}. " if pointed else "")
        prompts += pointed
    own = [prompt for prompt in command.visual_prompts if prompt.image == 0]
    asked_text = place_regions(command.text, len(own))
    prompts += _sort_by_marks(own, asked_text)
    question = f"{lead}{IMAGE}\n{asked_text}"
    written = TaskFormat(question)
    asked = understand(command.text)
    if asks_for_mask(command.text) or asked.task in (Task.DETECT, Task.OUTLINE, Task.GROUND):
        said = asked.names[0] if len(asked.names) == 1 else NAMELESS
        label = re.sub(r"^(?:same|other|similar) ", "", said) or NAMELESS
        written = TaskFormat(question, "It is here[DET].", (label,), {NAMELESS: label})
    # The network reads the frame last, so that image i of the command is image i - 1.
    moved = [replace(one, image=(one.image - 1) % (len(command.images) + 1)) for one in prompts]
    return _gather(written, (*command.images, frame), moved, config)


def _sort_by_marks(prompts: Sequence[VisualPrompt], question: str) -> tuple[VisualPrompt, ...]:
    """Return the prompts in the order in which a question names them: features go by place."""
    return tuple(prompts[int(number) - 1] for number in _MARKED.findall(question))


def _gather(
    written: TaskFormat,
    frames: tuple[Frame, ...],
    prompts: Sequence[VisualPrompt],
    config: ProcessingConfig,
) -> CommandPrompt:
    """Draw the prompts; `image` of each is its index in `frames`."""
    masks = np.empty((len(prompts), config.vision_side, config.vision_side), np.float32)
    for mask, one in zip(masks, prompts, strict=True):
        mask[:] = region_mask(one, frames[one.image].frame_hw, config)
    return CommandPrompt(written, frames, tuple(one.image for one in prompts), masks)


def place_regions(sentence: str, count: int) -> str:
    """Put placeholders of the regions 1 to `count` into a sentence, each exactly once.

    "region 2" in the sentence becomes its placeholder where it comes first. What is left takes the
    place of the first word that points ("this", "these things"); without one it is listed in front.

    Args:
        sentence: the user's; untrusted.
        count: regions that are pointed at.

    Raises:
        InputError: if the sentence speaks of a region that is not there.

    Example:
        >>> place_regions("what is this?", 1)
        'what is <reg>region1<region></reg>?'
    """
    missing = dict.fromkeys(range(1, count + 1))

    def place(found: re.Match[str]) -> str:
        number = int(found[1])
        if count and not 1 <= number <= count:
            raise InputError(
                f"the sentence speaks of region{number}, but {count} regions are pointed at; "
                "they are counted from 1"
            )
        # A second feature for the same region would not be what was trained.
        return region_placeholder(number) if missing.pop(number, 0) is None else found[0]

    text = _NUMBERED.sub(place, neutralise(sentence.strip()))
    if not missing:
        return text
    listed = ", ".join(region_placeholder(number) for number in missing)
    placed, replaced = _POINTING.subn(lambda _: listed, text, count=1)
    return placed if replaced else f"Look at {listed}. {text}"
