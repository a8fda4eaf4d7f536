"""Pass damaged messages through all readers; anything but an error of ours is a find."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzzing.message_seeds import (
    CAMERA_INFO,
    COMMAND,
    COMPRESSED,
    FRAME,
    FRAME_HW,
    IMAGE,
    INFO,
    RESULT,
    make_seeds,
)
from benchmarks.fuzzing.mutations import damage_bytes, damage_fields
from benchmarks.fuzzing.report import FuzzReport
from vl2_ros.clients.received_result import read_result
from vl2_ros.errors import InputError, TransportError
from vl2_ros.node.cameras.camera_image import store_compressed_image, store_image
from vl2_ros.node.cameras.camera_info import read_camera_info
from vl2_ros.node.cameras.depth_image import DEPTH_UNITS, read_depth
from vl2_ros.node.frames.transform_listener import TRANSFORM_TYPE, add_transforms
from vl2_ros.node.frames.transform_tree import TransformTree
from vl2_ros.node.hearing.audio_messages import AUDIO_TYPES, AudioTimes, read_audio
from vl2_ros.node.hearing.heard_messages import HEARD_TYPE
from vl2_ros.node.hearing.spoken_commands import NodeActions, SpokenCommands
from vl2_ros.node.hearing.vocabulary_output import VOCABULARY_TYPE, read_vocabulary
from vl2_ros.node.messages.command_messages import (
    read_command,
    read_mode,
    read_sender,
    read_text_command,
)
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.request import Mode
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.service_calls import ServiceCalls
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.regions import region_mask
from vl2_ros.processing.results.spatial import CameraModel, DepthImage, SpatialView
from vl2_ros.speech.audio import AudioConverter
from vl2_ros.structures import Command, Detections, Event, Frame
from vl2_ros.transports.memory import MemoryBus, MemoryTransport
from vl2_ros.transports.message_types import StoreMessageTypes
from vl2_ros.views.result_json import result_to_json

#: Low, so that a message of few bytes can be over them.
_LIMITS = NodeParameters(max_image_pixels=100_000, max_command_mb=1.0)
_MASK_PIXELS = 1_000_000
#: What no message may take, however much it declares.
MAX_GROWTH_BYTES = 50_000_000
_CASES_PER_LOOK = 1_000
_CONFIG = ProcessingConfig(vision_side=28, vision_tokens=4)
_CAMERA = CameraModel(np.array([[20.0, 0, 8], [0, 20, 6], [0, 0, 1]]), np.zeros(5), FRAME_HW)
_DEPTH = DepthImage(np.full(FRAME_HW, 1000, np.uint16), 1e-3)
_FOUND = Detections(
    boxes_xyxy=np.array([[1, 1, 6, 6]], np.float32),
    scores=np.ones(1, np.float32),
    class_ids=np.zeros(1, np.int64),
    labels=("mug",),
)
#: How often a type is chosen, where it is not 1: types with many fields are damaged often.
_WEIGHTS = {COMMAND: 8, RESULT: 10, CAMERA_INFO: 3}
# Linux reports the peak of a process, and resets it on request.
_STATUS, _PEAK_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

Read = Callable[[Any], None]


def fuzz_messages(cases: int, seed: int) -> FuzzReport:
    """Read damaged messages of every type; the same seed gives the same messages.

    Args:
        cases: messages.
        seed: of the damage.

    Returns:
        The cases, and as finds: what a reader raised that it does not promise, what the node
        logged with a traceback, memory that grew.
    """
    types = StoreMessageTypes()
    seeds = make_seeds(types)
    weights = [_WEIGHTS.get(type_name, 1) for type_name, _ in seeds]
    chance = random.Random(seed)
    report = FuzzReport()
    with _run_server() as (server, finds), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        readers = _list_readers(server)
        for type_name, data in seeds:  # whole, so that what is loaded at first use is there
            _read_case(types, type_name, data, readers)
        base = _reset_peak()
        while report.cases < cases:
            type_name, data = chance.choices(seeds, weights)[0]
            case = _damage(types, chance, type_name, data)
            report.cases += 1
            find = _try_case(types, type_name, case, readers) if case is not None else ""
            while finds or find:
                text, find = (find, "") if find else (finds.pop(), "")
                report.finds.append(f"case {report.cases} of seed {seed}, {type_name}: {text}")
            if report.cases % _CASES_PER_LOOK == 0 or report.cases == cases:
                base = _look_at_memory(report, base)
    return report


def _damage(
    types: StoreMessageTypes, chance: random.Random, type_name: str, data: bytes
) -> bytes | None:
    """Return damaged bytes; None when a damaged field cannot be written."""
    if chance.random() < 0.6:
        return bytes(damage_bytes(chance, data))
    message = types.deserialize(data, type_name)
    damage_fields(chance, message)
    try:
        return bytes(types.serialize(message))
    except TransportError:
        return None


def _try_case(
    types: StoreMessageTypes, type_name: str, data: bytes, readers: dict[str, Read]
) -> str:
    try:
        _read_case(types, type_name, data, readers)
    except BaseException as error:  # whatever comes is what is looked for
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return f"{type(error).__name__}: {str(error)[:300]}; bytes {data[:400].hex()}"
    return ""


def _read_case(
    types: StoreMessageTypes, type_name: str, data: bytes, readers: dict[str, Read]
) -> None:
    try:
        message = types.deserialize(data, type_name)
    except TransportError:
        return
    read = readers.get(type_name)
    if read is not None:
        read(message)


def _list_readers(server: PerceptionServer) -> dict[str, Read]:
    calls = ServiceCalls(StoreMessageTypes(), lambda: server, "1")

    def call(message: Any) -> None:
        calls.call(message.__msgtype__.rpartition("_")[0], message)
        server.node.cancel("")

    def submit(message: Any) -> None:
        server.submit(message.command, Mode.ASK)
        server.node.cancel("")

    return {
        "std_msgs/msg/String": _read_text,
        COMMAND: _read_vision_command,
        IMAGE: _read_image,
        COMPRESSED: _read_compressed,
        TRANSFORM_TYPE: _read_transforms,
        CAMERA_INFO: _read_calibration,
        RESULT: _read_vision_result,
        HEARD_TYPE: partial(_do_heard, server),
        VOCABULARY_TYPE: _read_words,
        **dict.fromkeys(AUDIO_TYPES, _hear),
        "vl2_ros/srv/Watch_Request": call,
        "vl2_ros/srv/Stop_Request": call,
        "vl2_ros/action/Perceive_Goal": submit,
        "vl2_ros/action/Perceive_Result": lambda message: _read_vision_result(message.result),
    }


def _read_text(message: Any) -> None:
    sender = read_sender(message)
    try:
        read_text_command(message, sender)
    except InputError:
        return


def _do_heard(server: PerceptionServer, message: Any) -> None:
    def admit(read: Callable[[], Any], sender: Any) -> str:
        with suppress(InputError):
            server.node.submit(read())
        return str(sender.id)

    actions = NodeActions(admit, lambda sender, error: None, lambda text: None, lambda: 0)
    SpokenCommands(server.node, actions).take(message)
    server.node.cancel("")


def _read_words(message: Any) -> None:
    vocabulary = read_vocabulary(message)
    assert len(vocabulary.prompt) < 10_000 and len(vocabulary.hot_words) < 1_000


def _hear(message: Any) -> None:
    with suppress(InputError):
        chunk = read_audio(message)
        AudioTimes().find_start_s(chunk, 5.0)
        AudioConverter(lambda fault: None).push(chunk)


def _read_vision_command(message: Any) -> None:
    sender = read_sender(message)
    try:
        read_mode(message)
        request = read_command(message, sender, _LIMITS)
        # What the worker does with it.
        images = tuple(_decode(image) for image in request.images)
        command = Command(request.text, visual_prompts=request.visual_prompts, images=images)
        command.check_prompts(FRAME)
        frames = (FRAME, *images)
        for prompt in request.visual_prompts:
            region_mask(prompt, frames[prompt.image].frame_hw, _CONFIG)
    except InputError:
        return


def _decode(image: Any) -> Any:
    try:
        return image.decode()
    except TransportError as error:
        raise InputError(str(error)) from error


def _read_image(message: Any) -> None:
    image = store_image(message, max_pixels=_LIMITS.max_image_pixels)
    with suppress(InputError, TransportError):
        image.decode()
    if message.encoding in DEPTH_UNITS:
        _read_depth_image(message)


def _read_depth_image(message: Any) -> None:
    try:
        depth = read_depth(message, max_pixels=_LIMITS.max_image_pixels)
    except InputError:
        return
    SpatialView(_CAMERA, depth).locate(_FOUND)


def _read_compressed(message: Any) -> None:
    image = store_compressed_image(message, max_pixels=_LIMITS.max_image_pixels)
    with suppress(InputError, TransportError):
        image.decode()
    if "compressedDepth" in message.format:
        _read_depth_image(message)


def _read_transforms(message: Any) -> None:
    tree = TransformTree()
    add_transforms(tree, message, is_static=bool(len(message.transforms) % 2))
    with suppress(InputError):
        tree.find("camera_link", "camera_optical", 5_000_000_007)


def _read_calibration(message: Any) -> None:
    try:
        camera = read_camera_info(message)
    except InputError:
        return
    # The node places nothing with the calibration of an image of another size.
    if camera.frame_hw == FRAME_HW:
        SpatialView(camera, _DEPTH).locate(_FOUND)


def _read_vision_result(message: Any) -> None:
    try:
        received = read_result(message, max_mask_pixels=_MASK_PIXELS)
    except TransportError:
        return
    result_to_json(received.result, with_masks=True)


@contextmanager
def _run_server() -> Iterator[tuple[PerceptionServer, list[str]]]:
    """Run a node without an image to look at; yield it and what it logs with a traceback."""
    finds: list[str] = []
    handler = _Tracebacks(finds)
    log = logging.getLogger("vl2_ros")
    propagate, log.propagate = log.propagate, False
    log.addHandler(handler)
    transport = MemoryTransport(MemoryBus())
    server = PerceptionServer(_Silent(), transport, _LIMITS)
    server.start()
    try:
        yield server, finds
    finally:
        server.stop()
        transport.close()
        log.removeHandler(handler)
        log.propagate = propagate


class _Silent:
    """A perceiver that is never asked, as no image comes."""

    info = INFO

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        raise NotImplementedError


class _Tracebacks(logging.Handler):
    """Keeps what is logged with a traceback."""

    def __init__(self, finds: list[str]) -> None:
        super().__init__()
        self._finds = finds

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[0] is not None:
            self._finds.append(f"logged: {record.getMessage()}: {record.exc_info[1]!r}")


def _look_at_memory(report: FuzzReport, base: int) -> int:
    """Note it when the peak of the last cases was too high; return what counts as idle."""
    grown = _read_status("VmHWM") - base
    if grown > MAX_GROWTH_BYTES:
        first = max(1, report.cases - _CASES_PER_LOOK + 1)
        report.finds.append(
            f"cases {first} to {report.cases} took {grown / 1e6:.0f} MB, expected at most "
            f"{MAX_GROWTH_BYTES / 1e6:.0f} MB"
        )
        return _reset_peak()
    return base


def _reset_peak() -> int:
    """Reset the peak of this process's memory; return its current size in bytes."""
    _PEAK_RESET.write_text("5")
    return _read_status("VmRSS")


def _read_status(name: str) -> int:
    (line,) = [one for one in _STATUS.read_text().splitlines() if one.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024
