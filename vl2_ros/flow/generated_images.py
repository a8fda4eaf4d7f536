"""Generate the images that an answer asks for: new ones, or the frame edited.

`IMAGE_BRANCHES` names what runs for each route.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

from vl2_ros.errors import InputError
from vl2_ros.flow.branches import Condition
from vl2_ros.runtime.engine import Engines, ImageGenerator
from vl2_ros.structures import Event, Frame, GeneratedImage, ImageOptions, ProgressEvent, Route

_Making = Generator[ProgressEvent, None, GeneratedImage]
#: Makes the image of one condition with its generator, from the frame where it needs that.
_MakeImage = Callable[[ImageGenerator, Condition, ImageOptions, Frame | None], _Making]


def make_images(
    engines: Engines,
    frame: Frame | None,
    conditions: Sequence[Condition],
    options: ImageOptions,
) -> Generator[Event, None, tuple[GeneratedImage, ...]]:
    """Generate an image for every condition, one after the other.

    Every edit is one of the frame, also where an answer asks for several.

    Args:
        engines: the image generators.
        frame: what is edited.
        conditions: in the order of the answer; routes of `IMAGE_BRANCHES`.
        options: the same for all.

    Yields:
        ProgressEvent after every denoising step.

    Returns:
        the images, in the same order.

    Raises:
        InputError: if there is nothing to edit, or an option cannot be used.
        RouteError: if a generator is not there.
    """
    images = []
    for condition in conditions:
        generator = engines.image_generators.get(condition.route)
        if generator is None:
            raise engines.refuse(condition.route)
        make = IMAGE_BRANCHES[condition.route]
        images.append((yield from make(generator, condition, options, frame)))
    return tuple(images)


def _draw(
    generator: ImageGenerator, condition: Condition, options: ImageOptions, frame: Frame | None
) -> _Making:
    return generator.generate(condition.states, options, frame)


def _edit(
    generator: ImageGenerator, condition: Condition, options: ImageOptions, frame: Frame | None
) -> _Making:
    if frame is None:
        raise InputError(
            "the answer edits an image and there is none; give the image to edit, or ask "
            "for a new one"
        )
    return generator.generate(condition.states, options, frame)


#: Route -> what runs for it.
IMAGE_BRANCHES: Mapping[Route, _MakeImage] = {Route.GENERATE: _draw, Route.EDIT: _edit}
