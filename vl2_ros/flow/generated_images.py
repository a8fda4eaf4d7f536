"""What an answer opened, to the images that it asks for: drawn anew, or the frame edited."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from vl2_ros.errors import InputError
from vl2_ros.flow.branches import Condition
from vl2_ros.runtime.engine import Engines
from vl2_ros.structures import Event, Frame, GeneratedImage, ImageOptions, Route

#: Routes that make images.
IMAGE_ROUTES = (Route.GENERATE, Route.EDIT)


def make_images(
    engines: Engines,
    frame: Frame | None,
    conditions: Sequence[Condition],
    options: ImageOptions,
) -> Generator[Event, None, tuple[GeneratedImage, ...]]:
    """Make an image for every condition, one after the other.

    Every edit is one of the frame, also where an answer asks for several.

    Args:
        engines: the image generators.
        frame: what is edited.
        conditions: in the order of the answer; routes of `IMAGE_ROUTES`.
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
        if frame is None and condition.route is Route.EDIT:
            raise InputError(
                "the answer edits an image and there is none; give the image to edit, or ask "
                "for a new one to be drawn"
            )
        images.append((yield from generator.generate(condition.states, options, frame)))
    return tuple(images)
