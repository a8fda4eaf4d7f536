"""Make messages of the classes that ROS 2 generated, filled from numpy without lists."""

from __future__ import annotations

import array
import importlib
import numbers
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from vl2_ros.errors import TransportError

#: Attributes under which the parts of services and actions are found.
_PARTS = {"Request", "Response", "Goal", "Result", "Feedback"}

Convert = Callable[[Any], Any]


@cache
def find_class(type_name: str) -> Any:
    """Return the class of a message, service or action, or of a part of one.

    Args:
        type_name: such as `sensor_msgs/msg/Image` or `vl2_ros/srv/Watch_Response`.

    Raises:
        TransportError: if the package or the type is not there.
    """
    package, kind, name = type_name.split("/")
    whole, _, part = name.rpartition("_")
    try:
        module = importlib.import_module(f"{package}.{kind}")
        if part in _PARTS:
            return getattr(getattr(module, whole), part)
        return getattr(module, name)
    except (ImportError, AttributeError) as error:
        raise TransportError(
            f"ROS 2 has no type {type_name} here ({error}); install {package}, or build it with "
            "colcon and source install/setup.bash"
        ) from error


class RosMessageTypes:
    """Makes messages of the generated classes."""

    def make(self, type_name: str, **fields: Any) -> Any:
        """Make a message; fields default to zero, empty or False.

        Args:
            type_name: such as `sensor_msgs/msg/Image`.
            fields: numbers, strings, messages, lists of strings or messages; sequences of numbers
                are 1-D numpy arrays of the field's dtype, copied once.

        Raises:
            TransportError: if there is no such type or field, or a value does not fit its field.
        """
        converters = _find_converters(type_name)
        values = {
            name: converters[name](value) if name in converters else value
            for name, value in fields.items()
        }
        try:
            return find_class(type_name)(**values, **_find_options(type_name))
        except (AssertionError, AttributeError, TypeError) as error:
            raise TransportError(f"{type_name} cannot be made: {error}") from error

    def has(self, type_name: str) -> bool:
        """Return whether ROS 2 has a type here."""
        try:
            find_class(type_name)
        except TransportError:
            return False
        return True


@cache
def _find_converters(type_name: str) -> Mapping[str, Convert]:
    """Return functions that convert our values to the class's, for the fields that need it."""
    described: Mapping[str, str] = find_class(type_name).get_fields_and_field_types()
    converters: dict[str, Convert] = {}
    for name, kind in described.items():
        if kind == "octet":
            converters[name] = _to_octet
        elif kind in ("float", "double"):
            converters[name] = _to_float
        elif kind.startswith("sequence<"):
            converters[name] = _to_sequence
    return converters


@cache
def _find_options(type_name: str) -> Mapping[str, bool]:
    """Return the argument that makes the class check its fields, which Humble always does.

    Else a value of a wrong kind ends the process, or becomes any number, when it is sent.
    """
    is_optional = "_check_fields" in getattr(find_class(type_name), "__slots__", ())
    return {"check_fields": True} if is_optional else {}


def _to_octet(value: int) -> bytes:
    return bytes([value])


def _to_float(value: Any) -> Any:
    # Here a whole number is none of the class's floats.
    return float(value) if isinstance(value, numbers.Real) else value


def _to_sequence(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    # numpy's and the array module's codes agree for every type of a ROS sequence but bool.
    sequence = array.array(value.dtype.char)
    sequence.frombytes(np.ascontiguousarray(value).view(np.uint8).data)
    return sequence
