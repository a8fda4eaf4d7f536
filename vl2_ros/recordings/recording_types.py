"""Make message readers from the definitions in a recording.

Only the definition of a topic that is asked for is looked at, so that no other topic of the
recording can stand in the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from vl2_ros.errors import TransportError
from vl2_ros.recordings.recording_files import warn_once
from vl2_ros.transports.message_types import load_typestore

_IDL_ENCODINGS = ("ros2idl", "omgidl")
_SEPARATOR = "=" * 80 + "\n"

Deserialize = Callable[[bytes], Any]


def name_type(message_type: str) -> str:
    """Return the full name of a message type; some writers omit the `msg` in the middle."""
    package, slash, name = message_type.partition("/")
    return f"{package}/msg/{name}" if slash and "/" not in name else message_type


@lru_cache(maxsize=64)
def make_deserializer(message_type: str, definition: str, encoding: str) -> Deserialize:
    """Return a function that reads messages from CDR bytes.

    The definition of the recording counts, since another release may have other fields. Where it is
    missing or cannot be used, the definition of ROS 2 Jazzy is taken.

    Args:
        message_type: full name, such as `sensor_msgs/msg/Image`.
        definition: text as recorded; may be empty.
        encoding: of the definition.

    Raises:
        TransportError: if nothing defines the type.
    """
    own = load_typestore().fielddefs
    text = definition.replace("\r\n", "\n")
    if text.strip():
        try:
            types = _with_parts(message_type, {**own, **_parse(message_type, text, encoding)})
            return _read_with(message_type, types)
        # The parsers raise any kind of error on damaged text.
        except Exception as error:
            warn_once(
                f"the recording's definition of {message_type} cannot be used "
                f"({type(error).__name__}), that of ROS 2 Jazzy is taken"
            )
    if message_type not in own:
        raise TransportError(f"nothing defines {message_type}, neither the recording nor ROS 2")
    return _read_with(message_type, _with_parts(message_type, own))


def _read_with(message_type: str, types: dict[str, Any]) -> Deserialize:
    store = get_typestore(Stores.EMPTY)
    store.register(types)
    return lambda data: store.deserialize_cdr(data, message_type)


def _parse(message_type: str, text: str, encoding: str) -> dict[str, Any]:
    """Parse a definition, including those of other types that it contains."""
    if encoding not in _IDL_ENCODINGS:
        return dict(get_types_from_msg(text, message_type))
    types: dict[str, Any] = {}
    for section in text.split(_SEPARATOR):
        # Each section of several begins with a line that names it.
        head, _, body = section.partition("\n")
        types.update(get_types_from_idl(body if head.startswith("IDL: ") else section))
    return types


def _with_parts(message_type: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return a type with the types of its fields, and theirs; KeyError if one is not known."""
    found: dict[str, Any] = {}
    waiting = [message_type]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = known[name]
            waiting += _list_names(known[name][1])
    return found


def _list_names(value: Any) -> list[str]:
    """Return the names of types in a nested description of fields."""
    if not isinstance(value, tuple | list):
        return []
    if len(value) == 2 and value[0] == Nodetype.NAME:
        return [value[1]]
    return [name for one in value for name in _list_names(one)]
