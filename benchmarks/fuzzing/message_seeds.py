"""Make valid messages of every type that the node and its clients read or write."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

from vl2_ros.node.frames.transform_listener import TRANSFORM_TYPE
from vl2_ros.node.hearing.audio_messages import AUDIO_STAMPED_TYPE, AUDIO_TYPE
from vl2_ros.node.hearing.heard_messages import HEARD_TYPE
from vl2_ros.node.hearing.vocabulary_output import VOCABULARY_TYPE
from vl2_ros.node.messages.result_messages import ResultMessages
from vl2_ros.node.request import Answer, Status
from vl2_ros.processing.results.spatial import CameraModel, DepthImage, SpatialView
from vl2_ros.structures import (
    Branch,
    Detections,
    Frame,
    GeneratedImage,
    Keypoints,
    LabelMap,
    Masks,
    ModelInfo,
    Result,
    Route,
    RunLengths,
)
from vl2_ros.transports.message_types import StoreMessageTypes

FRAME_HW = (12, 16)
RGB = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
FRAME = Frame(RGB, 5_000_000_007, "camera_link")
INFO = ModelInfo("fuzzed", "0123abcd", "numpy", "cpu", tuple(Route))
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
RESULT = "vl2_ros/msg/VisionResult"
COMMAND = "vl2_ros/msg/VisionCommand"
#: Sentences of each kind of action, the unknown one included.
_HEARD = ("find the mug", "find the mugs", "", "mugs", "", "", "?")
_DEPTH_HEADER = np.frombuffer(struct.pack("<iff", 0, 10_100.0, -1_009.0), np.uint8)
#: Channels and bytes of a value of encodings with different ways to RGB.
_ENCODINGS = {"rgb8": (3, 1), "bgra8": (4, 1), "mono16": (1, 2), "bayer_rggb8": (1, 1)}
_ENCODINGS |= {"yuyv": (2, 1), "rgb16": (3, 2), "32FC1": (1, 4), "16UC1": (1, 2)}


def make_seeds(types: StoreMessageTypes) -> list[tuple[str, bytes]]:
    """Make valid messages; returns pairs of type and CDR bytes."""
    messages = [
        types.make("std_msgs/msg/String", data="find the red mug"),
        *(_make_image(types, encoding) for encoding in _ENCODINGS),
        *(_make_compressed(types, suffix) for suffix in (".png", ".jpg", ".webp", ".bmp", ".tiff")),
        _make_declaring(types),
        *(_make_compressed_depth(types, form) for form in ("16UC1", "32FC1")),
        _make_rvl(types),
        _make_transforms(types),
        _make_camera_info(types),
        _make_command(types, with_images=False),
        _make_command(types, with_images=True),
        *_make_results(types),
        *_make_calls(types),
        *(_make_heard(types, kind, text) for kind, text in enumerate(_HEARD, start=1)),
        *_make_audio(types),
        types.make(VOCABULARY_TYPE, names=["mug"], cameras=["image", "left"], watches=["find it"]),
    ]
    return [(one.__msgtype__, bytes(types.serialize(one))) for one in messages]


def _make_heard(types: StoreMessageTypes, kind: int, text: str):
    time = types.make("builtin_interfaces/msg/Time", sec=5, nanosec=7)
    return types.make(
        HEARD_TYPE,
        start=time,
        end=time,
        text=text or "words",
        score=0.9,
        accepted=True,
        action=kind,
        command=text,
        command_id=f"heard-{kind}",
    )


def _make_audio(types: StoreMessageTypes):
    """Make 10 ms of stereo in each form that is heard, and of audio_common."""
    values = np.arange(320, dtype=np.int16)
    data = types.make("audio_common_msgs/msg/AudioData", int16_data=values)
    info = types.make("audio_common_msgs/msg/AudioInfo", channels=2, rate=16_000, chunk=160)
    audio = types.make("audio_common_msgs/msg/Audio", audio_data=data, info=info)
    header = _make_header(types)
    own = {"header": header, "rate": 16_000, "channels": 2}
    return (
        types.make(AUDIO_TYPE, int16_data=values, **own),
        types.make(AUDIO_TYPE, float32_data=values.astype(np.float32) / 320, **own),
        types.make(AUDIO_STAMPED_TYPE, header=header, audio=audio),
    )


def _make_header(types: StoreMessageTypes):
    stamp = types.make("builtin_interfaces/msg/Time", sec=5, nanosec=7)
    return types.make("std_msgs/msg/Header", stamp=stamp, frame_id="camera_link")


def _make_image(types: StoreMessageTypes, encoding: str):
    channels, value_bytes = _ENCODINGS[encoding]
    height, width = FRAME_HW
    step = width * channels * value_bytes
    return types.make(
        IMAGE,
        header=_make_header(types),
        height=height,
        width=width,
        encoding=encoding,
        step=step,
        data=np.resize(RGB, height * step),
    )


def _make_compressed(types: StoreMessageTypes, suffix: str):
    data = cv2.imencode(suffix, RGB)[1].reshape(-1)
    return types.make(COMPRESSED, header=_make_header(types), format=suffix[1:], data=data)


def _make_declaring(types: StoreMessageTypes):
    """Make a PNG of a few bytes whose header declares a large grey image."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 9_000, 8_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = np.frombuffer(b"\x89PNG\r\n\x1a\n" + chunk, np.uint8)
    return types.make(COMPRESSED, header=_make_header(types), format="png", data=data)


def _make_compressed_depth(types: StoreMessageTypes, encoding: str):
    values = np.linspace(0, 5_000, 12 * 16).astype(np.uint16).reshape(FRAME_HW)
    png = cv2.imencode(".png", values)[1].reshape(-1)
    data = np.concatenate([_DEPTH_HEADER, png])
    form = f"{encoding}; compressedDepth png"
    return types.make(COMPRESSED, header=_make_header(types), format=form, data=data)


def _make_rvl(types: StoreMessageTypes):
    """Make a depth image of two zeros, the values 5 and 6, and a zero."""
    rest = np.frombuffer(struct.pack("<III", 5, 1, 0x22A12100), np.uint8)
    data = np.concatenate([_DEPTH_HEADER, rest])
    form = "16UC1; compressedDepth rvl"
    return types.make(COMPRESSED, header=_make_header(types), format=form, data=data)


def _make_transforms(types: StoreMessageTypes):
    transforms = [
        types.make(
            "geometry_msgs/msg/TransformStamped", header=_make_header(types), child_frame_id=child
        )
        for child in ("camera_optical", "base_link")
    ]
    return types.make(TRANSFORM_TYPE, transforms=transforms)


def _make_camera_info(types: StoreMessageTypes):
    return types.make(
        CAMERA_INFO,
        header=_make_header(types),
        height=FRAME_HW[0],
        width=FRAME_HW[1],
        distortion_model="plumb_bob",
        d=np.full(5, 0.01),
        k=np.array([20.0, 0, 7.5, 0, 20.0, 5.5, 0, 0, 1]),
    )


def _make_command(types: StoreMessageTypes, *, with_images: bool):
    mask = np.zeros(FRAME_HW, np.bool_)
    mask[2:6, 3:9] = True
    wire = types.make(
        "vl2_ros/msg/InstanceMask",
        height=FRAME_HW[0],
        width=FRAME_HW[1],
        counts=RunLengths.encode(mask).counts,
    )

    def point(kind: int, *places: tuple[float, float], image: int = 0):
        points = [types.make("vision_msgs/msg/Point2D", x=x, y=y) for x, y in places]
        return types.make("vl2_ros/msg/VisualPrompt", kind=kind, points=points, image=image)

    prompts = [
        point(0, (3.0, 4.0)),
        point(1, (1.0, 2.0), (5.0, 6.0)),
        point(3, (1.0, 2.0), (5.0, 6.0), (5.0, 2.0), image=int(with_images)),
        types.make("vl2_ros/msg/VisualPrompt", kind=4, mask=wire, image=int(with_images)),
    ]
    images = [_make_image(types, "rgb8"), _make_image(types, "mono16")] if with_images else []
    return types.make(
        COMMAND,
        id="c1",
        text="segment these",
        camera="image",
        rate_hz=2.0,
        duration_s=1.0,
        watch_mode=2,
        deadline_s=3.0,
        score_threshold=0.5,
        visual_prompts=prompts,
        images=images,
        image_options=types.make("vl2_ros/msg/ImageOptions", seed=7, steps=3, scheduler="ddim"),
    )


def _make_detections(*, with_keypoints: bool) -> Detections:
    masks = np.zeros((2, *FRAME_HW), np.bool_)
    masks[0, 1:6, 1:6] = masks[1, 4:8, 4:8] = True
    keypoints = Keypoints(
        ("nose", "tail"), np.ones((2, 2, 2), np.float32), np.ones((2, 2), np.float32), ((0, 1),)
    )
    return Detections(
        boxes_xyxy=np.array([[1, 1, 6, 6], [4, 4, 8, 8]], np.float32),
        scores=np.array([0.9, 0.5], np.float32),
        class_ids=np.array([0, 1]),
        labels=("mug", "bowl"),
        masks=None if with_keypoints else Masks.cut(masks),
        keypoints=keypoints if with_keypoints else None,
        track_ids=np.array([1, 0]),
    )


def _make_results(types: StoreMessageTypes) -> list:
    phrases = ("mug", "bowl")
    branches = (
        Branch(Route.DETECT, phrases, _make_detections(with_keypoints=False)),
        Branch(
            Route.SEGMENT,
            phrases,
            _make_detections(with_keypoints=False),
            LabelMap(np.zeros(FRAME_HW, np.uint16), 0.5),
        ),
        Branch(Route.POSE, phrases, _make_detections(with_keypoints=True)),
    )
    result = Result(
        "c1",
        FRAME.stamp_ns,
        FRAME.frame_id,
        "a mug and a bowl",
        branches,
        images=(GeneratedImage(Route.EDIT, RGB, 7, 4, "ddim"),),
        raw_text="a mug[DET] and a bowl[DET]",
        in_domain=True,
        answer_score=0.75,
        answer_age=3,
    )
    camera = CameraModel(np.array([[20.0, 0, 8], [0, 20, 6], [0, 0, 1]]), np.zeros(5), FRAME_HW)
    space = SpatialView(camera, DepthImage(np.full(FRAME_HW, 1000, np.uint16), 1e-3))
    answer = Answer(
        "c1",
        "find it",
        "image",
        Status.OK,
        frame=FRAME,
        space=space,
        result=result,
        stage_ms={"language": 1.5},
    )
    maker = ResultMessages(types, lambda: INFO)
    parts = maker.open_parts(answer)
    sides = [
        one for topic in maker.list_topics(answer) for one in maker.make_messages(topic, parts)
    ]
    return [*sides, maker.make_result(answer, parts)]


def _make_calls(types: StoreMessageTypes) -> list:
    watch = types.make("vl2_ros/msg/WatchInfo", id="w", text="find it", watch_mode=4)
    result = _make_results(types)[-1]
    return [
        types.make("vl2_ros/srv/Watch_Request", command=_make_command(types, with_images=True)),
        types.make("vl2_ros/srv/Watch_Response", accepted=True, id="w", message="fine"),
        types.make("vl2_ros/srv/Stop_Request", id="c1"),
        types.make("vl2_ros/srv/Stop_Response", stopped=1, message="fine"),
        types.make("vl2_ros/srv/ListWatches_Response", watches=[watch, watch]),
        types.make(
            "vl2_ros/srv/GetInfo_Response", version="1", routes=["detect"], cameras=["image"]
        ),
        types.make("vl2_ros/action/Perceive_Goal", command=_make_command(types, with_images=False)),
        types.make("vl2_ros/action/Perceive_Result", result=result),
        types.make(
            "vl2_ros/action/Perceive_Feedback", stage="language", text="a", routes=["answer"]
        ),
    ]
