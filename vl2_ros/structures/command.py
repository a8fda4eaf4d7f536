"""A sentence about a frame, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from vl2_ros.errors import InputError
from vl2_ros.structures.frame import Frame
from vl2_ros.structures.image_options import ImageOptions
from vl2_ros.structures.tracking import TrackingOptions
from vl2_ros.structures.visual_prompt import VisualPrompt
from vl2_ros.structures.watching import WatchOptions

MAX_COMMAND_CHARACTERS = 4_000
#: Each visual prompt becomes a mask of the vision encoder's size and a token of the answer.
MAX_VISUAL_PROMPTS = 64
#: Points of all visual prompts of a command together.
MAX_POINTS = 20_000
MAX_FURTHER_IMAGES = 32


@dataclass(frozen=True, slots=True)
class Command:
    """A sentence about a frame.

    Attributes:
        text: the sentence, 1 to 4000 characters; special tokens in it are neutralised.
        id: caller's name for the command, copied into the result.
        score_threshold: instances scored below it are dropped, in 0..1.
        max_instances: most instances kept per route.
        max_new_tokens: most generated tokens; the answer is cut there.
        visual_prompts: where the sentence points, at most 64.
        images: further images, at most 32; pointing into one makes it an example of what is
            looked for.
        direct: the answer is written, not generated; only for sentences of a known form.
        image_options: how an image is generated or edited, where the answer is one.
        tracking: how objects are tracked from one frame to the next; None: they are not.
        watching: what the answers of a watch have of the one before.
    """

    text: str
    id: str = ""
    score_threshold: float = 0.35
    max_instances: int = 100
    max_new_tokens: int = 192
    visual_prompts: tuple[VisualPrompt, ...] = ()
    images: tuple[Frame, ...] = ()
    direct: bool = False
    image_options: ImageOptions = field(default_factory=ImageOptions)
    tracking: TrackingOptions | None = None
    watching: WatchOptions = field(default_factory=WatchOptions)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.text.strip():
            raise InputError('the command is empty; say something like "find the red mug"')
        if len(self.text) > MAX_COMMAND_CHARACTERS:
            raise InputError(
                f"the command has {len(self.text)} characters, at most "
                f"{MAX_COMMAND_CHARACTERS} are accepted; shorten it"
            )
        if not 0.0 <= self.score_threshold <= 1.0:
            raise InputError(f"score_threshold must lie in 0..1, got {self.score_threshold}")
        if self.max_instances < 1 or self.max_new_tokens < 1:
            raise InputError(
                "max_instances and max_new_tokens must be at least 1, got "
                f"{self.max_instances} and {self.max_new_tokens}"
            )

        for name, count, most in (
            ("visual prompts", len(self.visual_prompts), MAX_VISUAL_PROMPTS),
            ("further images", len(self.images), MAX_FURTHER_IMAGES),
        ):
            if count > most:
                raise InputError(f"the command has {count} {name}, at most {most} are accepted")

    def check_prompts(self, frame: Frame) -> None:
        """Check the visual prompts against the frame and the further images.

        Raises:
            InputError: if a prompt points into an image that is not there, or outside of it.
        """
        images = (frame, *self.images)
        for prompt in self.visual_prompts:
            if not 0 <= prompt.image < len(images):
                raise InputError(
                    f"a visual prompt points into image {prompt.image}; the command has the camera "
                    f"image (0) and {len(self.images)} further ones"
                )
            prompt.check_inside(images[prompt.image].frame_hw)
