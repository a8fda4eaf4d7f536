"""Every parameter of the node in one table: default, unit, range, and whether it changes live.

The ROS parameters, the options of `vl2 serve` and the parameter files are made from it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
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

_DEFAULT_DEPTH = ("depth",)

_camera = partial(parameter, panel="Cameras")
_command = partial(parameter, panel="Commands")
_answer = partial(parameter, panel="Answers")
_health = partial(parameter, panel="Health")
_speech = partial(parameter, panel="Speech")
_make_autostart = partial(
    parameter, True, "Configure and activate at once; false: wait for a lifecycle manager"
)
_make_heartbeat = partial(
    parameter,
    0.1,
    "Seconds between two heartbeats to a lifecycle manager while the node is active, Nav2's bond; "
    "0: none, for a manager with bond_timeout 0.0",
    least=0.0,
    most=10.0,
)


@dataclass(frozen=True, slots=True)
class NodeParameters:
    """The node's parameters; `note_of` has each field's unit and range."""

    cameras: tuple[str, ...] = _camera(
        ("image",),
        "Image topics, one camera each; commands name a camera by its topic, as here or remapped, "
        "results as here; the first is the default",
        metavar="TOPIC",
    )
    image_transport: str = _camera(
        "auto",
        "Image transport: raw subscribes to <camera>, compressed to <camera>/compressed, auto to "
        "compressed images only where there are no raw ones",
        choices=("auto", "raw", "compressed"),
    )
    image_reliability: str = _camera(
        "auto",
        "Reliability of the subscriptions of a camera; auto: reliable where every publisher of a "
        "topic offers it, else best effort",
        choices=("auto", "reliable", "best_effort"),
    )
    depth_topics: tuple[str, ...] = _camera(
        _DEFAULT_DEPTH,
        "Registered depth, one topic for each camera in the same order, an empty one for a camera "
        "without depth, or an empty list for none; the default is the first camera's; 16UC1 in mm "
        "or 32FC1 in m; its camera_info is expected beside the image",
        metavar="TOPIC",
    )
    depth_tolerance_s: float = _camera(
        0.05,
        "Most seconds between the stamps of an image and its depth",
        least=0.0,
        most=10.0,
    )
    max_image_pixels: int = _camera(
        16_000_000,
        "Most pixels of one image of a camera or a command; a larger one is answered invalid",
        least=1,
        most=_MAX_FRAME_PIXELS,
    )
    max_command_mb: float = _command(
        128.0,
        "Most MB of the images and visual prompts of one command; more is answered invalid",
        least=0.0,
        most=100_000.0,
        live=True,
    )
    image_rectified: str = _camera(
        "auto",
        "Whether images are rectified and placed in space by P of camera_info alone; auto: those "
        "of topics named image_rect...; others are placed by K, D and R",
        choices=("auto", "always", "never"),
    )
    target_frame: str = _answer(
        "",
        "Frame of 3-D results, such as base_link: they are moved there by the transforms of /tf at "
        "the time of their image; empty: they stay in the camera's optical frame",
        metavar="FRAME",
    )
    transform_timeout_s: float = _answer(
        0.1,
        "Most seconds to wait for the transform to target_frame; without one 3-D results stay in "
        "the optical frame, and the result's message says so",
        least=0.0,
        most=10.0,
        live=True,
    )
    marker_lifetime_s: float = _answer(
        0.0,
        "Seconds after which viewers remove a marker; 0: when the next answer comes or the watch "
        "ends",
        least=0.0,
        most=3600.0,
        live=True,
    )
    queue_size: int = _command(
        8, "Commands that may wait; one more is answered busy", least=1, most=1000
    )
    queue_mb: float = _command(
        256.0,
        "Most MB of the images and visual prompts of all waiting commands and watches; one more is "
        "answered busy",
        least=0.0,
        most=100_000.0,
        live=True,
    )
    max_watches: int = _command(
        4, "Watches at a time; one more is answered busy", least=0, most=100, live=True
    )
    allow_stop_all: bool = _command(
        True,
        "A stop without an id ends the commands and watches of all clients; false: it is answered "
        "invalid",
        live=True,
    )
    command_deadline_s: float = _command(
        10.0,
        "Seconds from arrival of a command until it is answered expired",
        least=0.01,
        most=3600.0,
        live=True,
    )
    max_frame_age_s: float = _command(
        1.0,
        "Seconds for which an image counts as current; an older one is skipped and the command "
        "waits for the next; 0: any age",
        least=0.0,
        most=3600.0,
        live=True,
    )
    score_threshold: float = _answer(
        0.35, "Instances with a lower score are skipped, 0..1", least=0.0, most=1.0, live=True
    )
    max_instances: int = _answer(
        100, "Most instances per route of one answer", least=1, most=1000, live=True
    )
    max_new_tokens: int = _answer(
        192, "Most generated tokens of an answer, which is cut there", least=1, most=4096, live=True
    )
    watch_mode: str = _answer(
        "default",
        "How images of a watch after the first are answered, unless a command says it; plain: as "
        "the first; exact: the last answer is verified in one call; cached: an answer that only "
        "names things is kept, and its decoder runs alone; auto: cached while the scene is the "
        "same; default: auto for the embedded model, exact for released weights",
        choices=("default", "plain", "exact", "cached", "auto"),
        live=True,
    )
    watch_refresh_frames: int = _answer(
        30,
        "Images of a watch in the mode auto that one answer serves at most",
        least=1,
        most=1_000_000,
        live=True,
    )
    tracking: bool = _answer(
        True,
        "Track the objects of a watch: each gets an id that it keeps from result to result",
        live=True,
    )
    track_hidden_frames: int = _answer(
        20,
        "Results of a watch in a row in which an object may be missing and keeps its id; after one "
        "more its track ends",
        least=0,
        most=1000,
        live=True,
    )
    image_steps: int = _answer(
        0,
        "Denoising steps of a generated or edited image; fewer are faster; 0: the model's default",
        least=0,
        most=_MAX_STEPS,
        live=True,
    )
    image_seed: int = _answer(
        0,
        "Seed of generated and edited images, which makes them reproducible; 0: a new one for each",
        least=0,
        most=999_999,
        live=True,
    )
    image_scheduler: str = _answer(
        "auto",
        "Scheduler of the denoising steps; auto: the model's default",
        choices=("auto", *_SCHEDULERS),
        live=True,
    )
    speech_frame: str = _speech(
        "end",
        "Image that a spoken question is about; end: the newest one when the speech ended, for "
        "which images of the last 2 s, 64 MB at most, are kept while a hearing node is there; "
        "newest: the newest one when the question is answered",
        choices=("end", "newest"),
        live=True,
    )
    barge_in: bool = _speech(
        False,
        "A new spoken question cancels the one before, where that still waits or runs",
        live=True,
    )
    stall_limit_s: float = _health(
        30.0,
        "Seconds that a running command may stay in one stage without progress before "
        "/diagnostics reports an error",
        least=0.1,
        most=3600.0,
        live=True,
    )
    camera_timeout_s: float = _health(
        3.0,
        "Seconds without an image, camera_info or depth after which that is reported",
        least=0.1,
        most=3600.0,
        live=True,
    )
    diagnostics_period_s: float = _health(
        1.0, "Seconds between two messages on /diagnostics", least=0.1, most=3600.0
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
        if len(self._list_depth_topics()) != len(self.cameras):
            raise ConfigError(
                f"depth_topics must have one topic for each of the {len(self.cameras)} cameras "
                f'{list(self.cameras)}, "" for one without depth, or be empty, got '
                f"{list(self.depth_topics)}"
            )
        if self.target_frame.startswith("/") or self.target_frame != self.target_frame.strip():
            raise ConfigError(
                "target_frame must be the name of a frame, such as base_link, without a slash "
                f"before it or spaces around it, got {self.target_frame!r}"
            )
        if self.queue_mb < self.max_command_mb:
            raise ConfigError(
                f"queue_mb must be at least max_command_mb, so that one command of that size fits, "
                f"got {self.queue_mb:g} and {self.max_command_mb:g}"
            )

    def fill_image_options(self, wanted: ImageOptions) -> ImageOptions:
        """Return the options of a command, with the node's parameters where it has none."""
        own = "" if self.image_scheduler == "auto" else self.image_scheduler
        return dataclasses.replace(
            wanted,
            seed=(self.image_seed or None) if wanted.seed is None else wanted.seed,
            steps=(self.image_steps or None) if wanted.steps is None else wanted.steps,
            scheduler=wanted.scheduler or own,
        )

    def find_depth_topic(self, camera: str) -> str:
        """Return the depth topic of a camera; empty when it has none."""
        return dict(zip(self.cameras, self._list_depth_topics(), strict=True)).get(camera, "")

    def _list_depth_topics(self) -> tuple[str, ...]:
        """Return one topic for each camera, if the parameter fits the cameras."""
        if self.depth_topics not in ((), _DEFAULT_DEPTH):
            return self.depth_topics
        return (self.depth_topics + ("",) * len(self.cameras))[: len(self.cameras)]


@dataclass(frozen=True, slots=True)
class HearingParameters:
    """What a hearing node is configured with."""

    node: str = _speech(
        "vl2",
        "Name of the node that does what is heard, in the namespace of the hearing node",
        metavar="NAME",
    )
    audio_topic: str = _speech(
        "audio",
        "Audio that is heard: vl2_ros/Audio, or audio_common_msgs/AudioStamped where that is "
        "installed, int16 or float32, at any rate",
        metavar="TOPIC",
    )
    speech_weights: str = _speech(
        "",
        "Folder of a Whisper model in the form of CTranslate2, or hub:NAME to download one; by "
        "default the installed package of weights",
        metavar="WEIGHTS",
    )
    speech_threads: int = _speech(
        2,
        "Threads that recognise speech; more answer sooner and take more from seeing",
        least=1,
        most=64,
    )
    min_score: float = _speech(
        0.5,
        "A sentence that is less certain is published as heard and not done, 0..1",
        least=0.0,
        most=1.0,
    )
    wake_phrase: str = _speech(
        "",
        "Only sentences that begin with it are for the robot, such as hey robot; empty: all are",
        metavar="WORDS",
    )
    channel: int = _speech(
        -1, "Channel that is heard, from 0 on; -1: the mean of all", least=-1, most=63
    )
    audio_timeout_s: float = _speech(
        3.0,
        "Seconds without audio, or without a node that does what is heard, until that is reported",
        least=0.1,
        most=3600.0,
    )
    autostart: bool = _make_autostart()
    bond_heartbeat_period: float = _make_heartbeat()

    def __post_init__(self) -> None:
        """Check every value against its note.

        Raises:
            ConfigError: naming the parameter, what is expected and what came.
        """
        check_parameters(self)


@dataclass(frozen=True, slots=True)
class ProcessParameters(LoadOptions):
    """What a process that runs the node is configured with: the model, and when it runs."""

    watchdog: str = _health(
        "auto",
        "Whether the model runs in a process of its own, which is killed when it hangs and "
        "restarted when it ends; auto: on where the device is a GPU",
        choices=("auto", "on", "off"),
    )
    perceiver_stall_s: float = _health(
        30.0,
        "Seconds without progress of a running command after which the watchdog restarts the "
        "model; longer than any one stage takes",
        least=0.1,
        most=3600.0,
    )
    autostart: bool = _make_autostart()
    bond_heartbeat_period: float = _make_heartbeat()
