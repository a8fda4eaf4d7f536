"""Python classes and wire bytes of messages without ROS: rosbags' Jazzy types and our own.

The files in msg/, srv/ and action/ are the only source of our own types; nothing is typed twice.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.base import normalize_fieldname
from rosbags.typesys.store import Typestore

from vl2_ros.documents import read_text
from vl2_ros.errors import ShapeError, TransportError
from vl2_ros.node.transport import MessageTypes
from vl2_ros.transports.long_lists import LongList, cut_off, find_excess

#: Fields of packages that the library of types does not know. vision_msgs 4 (Humble to Lyrical),
#: their meaning: https://github.com/ros-perception/vision_msgs (Apache-2.0).
_VISION_MSGS = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
    "Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\nstring id"
    ),
    "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "Detection3D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox3D bbox\nstring id"
    ),
    "Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections",
    "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
    "VisionClass": "uint16 class_id\nstring class_name",
    "LabelInfo": ("std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold"),
}
#: What microphones publish for whisper_ros: https://github.com/mgonzs13/audio_common (MIT).
_AUDIO_MSGS = {
    "AudioData": (
        "float32[] float32_data\nint32[] int32_data\nint16[] int16_data\nint8[] int8_data\n"
        "uint8[] uint8_data"
    ),
    "AudioInfo": "int32 format\nint32 channels\nint32 rate\nint32 chunk",
    "Audio": "audio_common_msgs/AudioData audio_data\naudio_common_msgs/AudioInfo info",
    "AudioStamped": "std_msgs/Header header\naudio_common_msgs/Audio audio",
}
_FURTHER = {"vision_msgs": _VISION_MSGS, "audio_common_msgs": _AUDIO_MSGS}
#: Names of what the lines of dashes in a file separate.
_SECTIONS = {
    "msg": ("",),
    "srv": ("_Request", "_Response"),
    "action": ("_Goal", "_Result", "_Feedback"),
}
_PACKAGE = Path(__file__).resolve().parent.parent
# Defaults that a definition itself gives; of the messages in use only this one has any.
_GIVEN_DEFAULTS: dict[tuple[str, str], Any] = {("geometry_msgs/msg/Quaternion", "w"): 1.0}
_DTYPES = {"bool": "bool", "byte": "int8", "char": "uint8"}
# One byte in UTF-8, so that it takes the place of a damaged byte; the character means just that.
_SUBSTITUTE = "\x1a"
_REPLACEMENT = "\ufffd"
_MOST_DAMAGED_STRINGS = 32

#: Exceptions of the library when a value does not fit its field.
_UNWRITABLE = (SerdeError, struct.error, ArithmeticError, ValueError, TypeError, AttributeError)

Default = Callable[[], Any]


def find_definitions() -> Path:
    """Return the folder with msg/, srv/ and action/.

    It is `wire` inside an installed package, and the repository's root in a working copy.

    Raises:
        TransportError: if neither has them.
    """
    places = (_PACKAGE / "wire", _PACKAGE.parent)
    for place in places:
        if (place / "msg" / "VisionResult.msg").is_file():
            return place
    raise TransportError(
        f"the message definitions are missing, expected msg/VisionResult.msg in {places[0]} or "
        f"{places[1]}; install vl2_ros again"
    )


@lru_cache(maxsize=1)
def load_typestore() -> Typestore:
    """Return the types of ROS 2 Jazzy, further packages and ours; shared, do not register more.

    Raises:
        TransportError: if the definitions are missing.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for package, messages in _FURTHER.items():
        for name, text in messages.items():
            types.update(get_types_from_msg(text, f"{package}/msg/{name}"))
    for name, text in read_definitions().items():
        types[name] = parse_definition(name, text)
    try:
        store.register(types)
    except (TypesysError, KeyError) as error:
        raise TransportError(f"the message definitions do not fit together: {error}") from error
    return store


def parse_definition(name: str, text: str) -> Any:
    """Parse one definition with the type library.

    Args:
        name: such as `vl2_ros/srv/Stop_Request`.
        text: of the definition.

    Raises:
        TransportError: if the text is no definition.
    """
    try:
        # The parser knows messages only: read as one, so that it finds their namesakes in msg/.
        (parsed,) = get_types_from_msg(text, f"vl2_ros/msg/{name.rpartition('/')[2]}").values()
    # The parser raises whatever the damage makes of it.
    except Exception as error:
        raise TransportError(
            f"the definition of {name} cannot be read ({type(error).__name__}: "
            f"{str(error)[:300]}); install vl2_ros again"
        ) from error
    return parsed


def read_definitions() -> dict[str, str]:
    """Return the text of each of our types by its name, such as `vl2_ros/srv/Stop_Request`.

    Raises:
        TransportError: if the definitions are missing or a file has the wrong number of sections.
    """
    root = find_definitions()
    texts: dict[str, str] = {}
    for kind, endings in _SECTIONS.items():
        for path in sorted((root / kind).glob(f"*.{kind}")):
            sections = _split_sections(read_text(path, TransportError))
            if len(sections) != len(endings):
                raise TransportError(
                    f"{path} has {len(sections)} sections, expected {len(endings)}, with a line "
                    "of three dashes between them"
                )
            for ending, section in zip(endings, sections, strict=True):
                texts[f"vl2_ros/{kind}/{path.stem}{ending}"] = section
    return texts


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """How messages of a type are made.

    Attributes:
        message_class: of the type library.
        defaults: field -> what returns its default.
        dtypes: of the fields that are sequences or arrays of numbers.
    """

    message_class: type[Any]
    defaults: Mapping[str, Default]
    dtypes: Mapping[str, np.dtype]


class StoreMessageTypes:
    """Makes, writes and reads messages as the dataclasses of the type library.

    Args:
        typestore: the types; None takes those of `load_typestore`.
    """

    def __init__(self, typestore: Typestore | None = None) -> None:
        self.typestore = typestore or load_typestore()
        self._forms: dict[str, _Form] = {}

    def make(self, type_name: str, **fields: Any) -> Any:
        """Make a message; fields default to zero, empty or False, a quaternion to the identity.

        Args:
            type_name: such as `sensor_msgs/msg/Image`.
            fields: numbers, strings, messages, lists of strings or messages; sequences of numbers
                are 1-D numpy arrays of the field's dtype, kept without a copy when contiguous.

        Raises:
            TransportError: if there is no such type or field.
            ShapeError: if a sequence of numbers is no 1-D array of the field's dtype.
        """
        form = self._forms.get(type_name) or self._find_form(type_name)
        if not fields.keys() <= form.defaults.keys():
            unknown = fields.keys() - form.defaults.keys()
            raise TransportError(
                f"{type_name} has no field {', '.join(sorted(unknown))}; it has: "
                f"{', '.join(form.defaults)}"
            )
        for name, dtype in form.dtypes.items():
            if name in fields:
                fields[name] = _check_numbers(f"{type_name}.{name}", fields[name], dtype)
        for name, default in form.defaults.items():
            if name not in fields:
                fields[name] = default()
        return form.message_class(**fields)

    def has(self, type_name: str) -> bool:
        """Return whether a type is known."""
        return type_name in self.typestore.types

    def serialize(self, message: Any) -> memoryview:
        """Return a message as CDR, little endian, with its four bytes of encapsulation.

        Raises:
            TransportError: if a value does not fit its field.
        """
        try:
            return self.typestore.serialize_cdr(message, message.__msgtype__, little_endian=True)
        except _UNWRITABLE as error:
            raise TransportError(f"{message.__msgtype__} cannot be written: {error}") from error

    def deserialize(self, data: bytes | memoryview, type_name: str) -> Any:
        """Read a message from CDR; its arrays are views of `data`.

        Bytes of a string that are not UTF-8 become U+FFFD, as in ROS 2's Python. A list that
        brings the message above `MAX_LISTED` items becomes a `LongList`, and the fields after
        it are empty: the sender can still be read, and answered.

        Raises:
            TransportError: if the bytes are no such message.
        """
        self._check_known(type_name)
        # A slice of bytes would copy the image, one of a view does not.
        view = memoryview(data)
        excess = find_excess(self.typestore, view, type_name)
        if excess is not None:
            cut = cut_off(self.typestore, view, type_name, excess)
            message = self.deserialize(memoryview(cut), type_name)
            setattr(message, normalize_fieldname(excess.field), LongList(excess.count))
            return message
        try:
            return self.typestore.deserialize_cdr(view, type_name)
        except SerdeError as error:
            if not isinstance(error.__cause__, UnicodeDecodeError):
                raise TransportError(f"{type_name} cannot be read: {error}") from error
        return self._deserialize_damaged(bytearray(data), type_name)

    def hash_type(self, type_name: str) -> str:
        """Return the type's hash as ROS 2 names it, `RIHS01_` and 64 hexadecimal digits."""
        self._check_known(type_name)
        return self.typestore.hash_rihs01(type_name)

    def _deserialize_damaged(self, data: bytearray, type_name: str) -> Any:
        for _ in range(_MOST_DAMAGED_STRINGS):
            try:
                message = self.typestore.deserialize_cdr(memoryview(data), type_name)
            except SerdeError as error:
                if not isinstance(error.__cause__, UnicodeDecodeError):
                    raise TransportError(f"{type_name} cannot be read: {error}") from error
                _substitute_string(data, bytes(error.__cause__.object))
            else:
                return _with_replacement(message)
        raise TransportError(
            f"{type_name} cannot be read: more than {_MOST_DAMAGED_STRINGS} strings are not UTF-8"
        )

    def _check_known(self, type_name: str) -> None:
        if not self.has(type_name):
            raise TransportError(
                f"message type {type_name!r} is not known; expected a name such as "
                "sensor_msgs/msg/Image, of ROS 2 Jazzy's own packages, vision_msgs or vl2_ros"
            )

    def _find_form(self, type_name: str) -> _Form:
        self._check_known(type_name)
        described = self.typestore.fielddefs[type_name][1]
        pairs = [(normalize_fieldname(name), desc) for name, desc in described]
        form = self._forms[type_name] = _Form(
            message_class=self.typestore.types[type_name],
            defaults={
                name: self._given_default(type_name, name) or self._default(desc)
                for name, desc in pairs
            },
            dtypes={
                name: dtype for name, desc in pairs if (dtype := _numbers_dtype(desc)) is not None
            },
        )
        return form

    @staticmethod
    def _given_default(type_name: str, name: str) -> Default | None:
        value = _GIVEN_DEFAULTS.get((type_name, name))
        return None if value is None else lambda: value

    def _default(self, desc: Any) -> Default:
        kind, detail = desc
        if kind == Nodetype.BASE:
            return {"string": str, "bool": bool, "float32": float, "float64": float}.get(
                detail[0], int
            )
        if kind == Nodetype.NAME:
            return lambda: self.make(detail)
        count = detail[1] if kind == Nodetype.ARRAY else 0
        dtype = _numbers_dtype(desc)
        if dtype is not None:
            return lambda: np.zeros(count, dtype)
        one = self._default(detail[0])
        return lambda: [one() for _ in range(count)]


def remake_message(types: MessageTypes, message: Any) -> Any:
    """Make a message of the type library again as a transport's own class; arrays are shared.

    Args:
        types: makes the transport's message classes.
        message: of the type library, such as one that was read from a recording.
    """

    def remake(value: Any) -> Any:
        if is_dataclass(value):
            return remake_message(types, value)
        return [remake(one) for one in value] if isinstance(value, list) else value

    # The name of the type and its constants are also listed as fields.
    names = [one.name for one in fields(message) if not (one.name.isupper() or "__" in one.name)]
    return types.make(
        message.__msgtype__, **{name: remake(getattr(message, name)) for name in names}
    )


def _split_sections(text: str) -> list[str]:
    sections: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip() == "---":
            sections.append([])
        else:
            sections[-1].append(line)
    return ["\n".join(lines) + "\n" for lines in sections]


def _numbers_dtype(desc: Any) -> np.dtype | None:
    """Return the dtype of a sequence or array of numbers; None for every other field."""
    kind, detail = desc
    if kind not in (Nodetype.ARRAY, Nodetype.SEQUENCE) or detail[0][0] != Nodetype.BASE:
        return None
    name = detail[0][1][0]
    return None if name == "string" else np.dtype(_DTYPES.get(name, name))


def _check_numbers(field: str, value: Any, dtype: np.dtype) -> np.ndarray:
    # The library would write another dtype's bytes as they are, and the receiver reads garbage.
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype != dtype:
        got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value)
        raise ShapeError(f"{field} must be a 1-D numpy array of {dtype}, got {got}")
    return np.ascontiguousarray(value)


def _substitute_string(data: bytearray, damaged: bytes) -> None:
    """Overwrite the bytes of one string in CDR that are not UTF-8, keeping its length."""
    length = struct.pack("<I" if data[1] else ">I", len(damaged) + 1)
    start = data.index(length + damaged + b"\0") + len(length)
    text = damaged.decode("utf-8", errors="surrogateescape")
    repaired = "".join(_SUBSTITUTE if "\udc80" <= one <= "\udcff" else one for one in text)
    data[start : start + len(damaged)] = repaired.encode("utf-8")


def _with_replacement(value: Any) -> Any:
    """Put U+FFFD for the stand-in into every string of a message, in place."""
    if isinstance(value, str):
        return value.replace(_SUBSTITUTE, _REPLACEMENT)
    if isinstance(value, list):
        return [_with_replacement(one) for one in value]
    if is_dataclass(value):
        for item in fields(value):
            setattr(value, item.name, _with_replacement(getattr(value, item.name)))
    return value
