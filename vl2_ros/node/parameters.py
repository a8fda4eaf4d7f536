"""Every parameter of the node in one table: default, unit, range, and whether it changes live.

The ROS parameters, the options of `vl2 serve` and the parameter files are made from it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vl2_ros.errors import ConfigError
from vl2_ros.load_options import LoadOptions
from vl2_ros.parameter_table import check_parameters, parameter

if TYPE_CHECKING:
    from vl2_ros.structures import ImageOptions

#: As in `structures.image_options`, which brings numpy: the command line's help is made from here.
_SCHEDULERS = ("ddim", "dpm++", "euler", "euler_ancestral", "lcm", "pndm")
_MAX_STEPS = 1_000
#: As in `structures.frame`, for the same reason.
_MAX_FRAME_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True)
class NodeParameters:
    """What a user of the node sets; `note_of` has each field's unit and range."""

    cameras: tuple[str, ...] = parameter(
        ("image",),
        "image topics, one camera each; the topic is the camera's name, the first is the default",
    )
    image_transport: str = parameter(
        "auto",
        "raw subscribes to <camera>, compressed to <camera>/compressed, auto to both",
        choices=("auto", "raw", "compressed"),
    )
    image_reliability: str = parameter(
        "auto",
        "reliability of the image subscriptions; auto is best effort, which matches every "
        "publisher",
        choices=("auto", "reliable", "best_effort"),
    )
    depth_topics: tuple[str, ...] = parameter(
        ("depth",),
        "registered depth of each camera, in the same order, 16UC1 in mm or 32FC1 in m; empty or "
        "left out: none; its camera_info is looked for beside the image",
    )
    depth_tolerance_s: float = parameter(
        0.05,
        "seconds between the stamps of an image and of the depth that belongs to it, at most",
        least=0.0,
        most=10.0,
    )
    max_image_pixels: int = parameter(
        16_000_000,
        "pixels of one image of a camera or a command; a larger one is answered invalid",
        least=1,
        most=_MAX_FRAME_PIXELS,
    )
    max_command_mb: float = parameter(
        128.0,
        "MB that the images and visual prompts of one command may hold; more is answered invalid",
        least=0.0,
        most=100_000.0,
        live=True,
    )
    image_rectified: str = parameter(
        "auto",
        "whether images are rectified and placed in space by P of camera_info alone; auto: those "
        "of topics named image_rect...; others are placed by K, D and R",
        choices=("auto", "always", "never"),
    )
    marker_lifetime_s: float = parameter(
        0.0,
        "seconds after which viewers remove a marker; 0: when the next answer comes or the watch "
        "ends",
        least=0.0,
        most=3600.0,
        live=True,
    )
    queue_size: int = parameter(
        8, "commands that wait; one more is answered busy", least=1, most=1000
    )
    queue_mb: float = parameter(
        256.0,
        "MB that the images and visual prompts of all waiting and standing commands may hold; one "
        "more is answered busy",
        least=0.0,
        most=100_000.0,
        live=True,
    )
    max_watches: int = parameter(
        4, "standing commands; one more is answered busy", least=0, most=100, live=True
    )
    allow_stop_all: bool = parameter(
        True,
        "a stop without an id ends every command and watch, whoever asked; false: it is answered "
        "invalid",
        live=True,
    )
    command_deadline_s: float = parameter(
        10.0,
        "seconds from arrival of a command until it is answered expired",
        least=0.01,
        most=3600.0,
        live=True,
    )
    max_frame_age_s: float = parameter(
        1.0,
        "seconds for which an image counts as what the camera sees now; an older one is not "
        "used, the command waits for the next; 0 uses any",
        least=0.0,
        most=3600.0,
        live=True,
    )
    score_threshold: float = parameter(
        0.35, "instances scored below it are left out, 0..1", least=0.0, most=1.0, live=True
    )
    max_instances: int = parameter(
        100, "most instances of one route of one answer", least=1, most=1000, live=True
    )
    max_new_tokens: int = parameter(
        192, "an answer is cut after so many generated tokens", least=1, most=4096, live=True
    )
    image_steps: int = parameter(
        0,
        "denoising steps of a drawn or edited image; fewer are faster; 0: the model's default",
        least=0,
        most=_MAX_STEPS,
        live=True,
    )
    image_seed: int = parameter(
        0,
        "seed of drawn and edited images, so that they come out the same; 0: a new one for each",
        least=0,
        most=999_999,
        live=True,
    )
    image_scheduler: str = parameter(
        "auto",
        "what takes the denoising steps; auto: the model's own",
        choices=("auto", *_SCHEDULERS),
        live=True,
    )
    stall_limit_s: float = parameter(
        30.0,
        "seconds for which a running command may be in one stage without a sign before "
        "/diagnostics reports an error",
        least=0.1,
        most=3600.0,
        live=True,
    )
    camera_timeout_s: float = parameter(
        3.0,
        "seconds without an image after which a camera is reported silent",
        least=0.1,
        most=3600.0,
        live=True,
    )
    diagnostics_period_s: float = parameter(
        1.0, "seconds between two messages on /diagnostics", least=0.1, most=3600.0
    )

    def __post_init__(self) -> None:
        """Check every value against its note.

        Raises:
            ConfigError: naming the parameter, what is expected and what came.
        """
        check_parameters(self)
        if not self.cameras or not all(self.cameras):
            raise ConfigError(
                f"cameras must name at least one image topic, got {list(self.cameras)}"
            )
        if len(set(self.cameras)) != len(self.cameras):
            raise ConfigError(f"cameras must differ from each other, got {list(self.cameras)}")
        if len(self.depth_topics) > len(self.cameras):
            raise ConfigError(
                f"depth_topics must name at most one topic for each of the {len(self.cameras)} "
                f"cameras, got {list(self.depth_topics)}"
            )

        if self.queue_mb < self.max_command_mb:
            raise ConfigError(
                f"queue_mb must be at least max_command_mb, so that one command of that size fits, "
                f"got {self.queue_mb:g} and {self.max_command_mb:g}"
            )

    def fill_image_options(self, wanted: ImageOptions) -> ImageOptions:
        """Put the node's own in place of what a command leaves open."""
        own = "" if self.image_scheduler == "auto" else self.image_scheduler
        return dataclasses.replace(
            wanted,
            seed=(self.image_seed or None) if wanted.seed is None else wanted.seed,
            steps=(self.image_steps or None) if wanted.steps is None else wanted.steps,
            scheduler=wanted.scheduler or own,
        )

    def find_depth_topic(self, camera: str) -> str:
        """Return the depth topic of a camera; empty when it has none."""
        topics = dict(zip(self.cameras, self.depth_topics, strict=False))
        return topics.get(camera, "")


@dataclass(frozen=True, slots=True)
class ProcessParameters(LoadOptions):
    """What a process that runs the node is configured with: the model, and when it runs."""

    watchdog: str = parameter(
        "auto",
        "on: the model runs in a process of its own, which is killed when it hangs and restarted "
        "when it ends; off: in the node's; auto: on where the device is a GPU",
        choices=("auto", "on", "off"),
    )
    perceiver_stall_s: float = parameter(
        30.0,
        "seconds without a sign of a running command after which the watchdog takes the model for "
        "hung; longer than any one stage takes",
        least=0.1,
        most=3600.0,
    )
    autostart: bool = parameter(
        True, "configure and activate at once; false waits for a lifecycle manager"
    )
    bond_heartbeat_period: float = parameter(
        0.1,
        "seconds between two heartbeats to a lifecycle manager while the node is active, Nav2's "
        "bond; 0: none, for a manager with bond_timeout 0.0",
        least=0.0,
        most=10.0,
    )
