"""Make DDS types with ROS 2's names from message definitions; samples carry finished CDR bytes.

The Python binding would read and write an image byte by byte through lists; here it only declares
the full type to the other side, and the bytes are made elsewhere.
"""

from __future__ import annotations

import types
from typing import Any

import cyclonedds.idl.types
from cyclonedds.idl import IdlStruct, make_idl_struct
from rosbags.interfaces import Nodetype
from rosbags.typesys.base import normalize_fieldname
from rosbags.typesys.store import Typestore

# Its generic types are made by hand, which type checkers cannot follow.
_idl: Any = cyclonedds.idl.types
_NUMBERS: dict[str, Any] = {
    "bool": bool,
    # As ROS 2 declares it to DDS, which keeps apart byte and uint8 where both sides declare types.
    "byte": _idl.uint8,
    "char": _idl.uint8,
    **{name: getattr(_idl, name) for name in ("int8", "int16", "int32", "int64")},
    **{name: getattr(_idl, name) for name in ("uint8", "uint16", "uint32", "uint64")},
    "float32": _idl.float32,
    "float64": _idl.float64,
}


def dds_type_name(type_name: str) -> str:
    """Return the name on the wire: `a/msg/B` is `a::msg::dds_::B_`."""
    package, kind, name = type_name.split("/")
    return f"{package}::{kind}::dds_::{name}_"


def ros_type_name(dds_name: str) -> str:
    """Return ROS 2's name of a type on the wire; one that is no type of ROS 2 as it is."""
    parts = dds_name.split("::")
    if len(parts) != 4 or parts[2] != "dds_" or not parts[3].endswith("_"):
        return dds_name
    return "/".join((parts[0], parts[1], parts[3].removesuffix("_")))


class IdlTypes:
    """Makes each DDS type once."""

    def __init__(self, typestore: Typestore) -> None:
        self._typestore = typestore
        self._plain: dict[str, type[IdlStruct]] = {}
        self._samples: dict[str, type[IdlStruct]] = {}

    def plain(self, type_name: str) -> type[IdlStruct]:
        """Return the type with a value per field, as the binding itself writes and reads it."""
        if type_name not in self._plain:
            self._plain[type_name] = make_idl_struct(
                type_name.rpartition("/")[2] + "_",
                dds_type_name(type_name).replace("::", "."),
                self._fields(type_name),
            )
        return self._plain[type_name]

    def sample(self, type_name: str) -> type[IdlStruct]:
        """Return the same type for topics: made of CDR bytes, stored in its `cdr`."""
        if type_name not in self._samples:
            fields = self._fields(type_name)

            def fill(namespace: dict[str, Any]) -> None:
                namespace["__annotations__"] = fields
                namespace.update(_CDR_METHODS)

            # Methods in the body, not by inheritance: a base would become a base type in DDS.
            self._samples[type_name] = types.new_class(
                type_name.rpartition("/")[2] + "_",
                (IdlStruct,),
                {"typename": dds_type_name(type_name).replace("::", ".")},
                fill,
            )
        return self._samples[type_name]

    def _fields(self, type_name: str) -> dict[str, Any]:
        described = self._typestore.fielddefs[type_name][1]
        return {normalize_fieldname(name): self._field(desc) for name, desc in described}

    def _field(self, desc: Any) -> Any:
        kind, detail = desc
        if kind == Nodetype.NAME:
            return self.plain(detail)
        if kind == Nodetype.BASE:
            name, limit = detail
            if name != "string":
                return _NUMBERS[name]
            return _idl.bounded_str[limit] if limit else str
        element, count = self._field(detail[0]), detail[1]
        if kind == Nodetype.ARRAY:
            return _idl.array[element, count]
        return _idl.sequence[element, count] if count else _idl.sequence[element]


def _hold(self: Any, cdr: bytes) -> None:
    self.cdr = cdr


def _serialize(
    self: Any, buffer: Any = None, endianness: Any = None, use_version_2: bool | None = None
) -> bytes:
    cdr: bytes = self.cdr
    return cdr


def _deserialize(
    cls: Any, data: bytes, has_header: bool = True, use_version_2: bool | None = None
) -> Any:
    return cls(data)


# A sample without data (its writer has gone) asks for its key; ROS types have none.
_CDR_METHODS = {
    "__init__": _hold,
    "serialize": _serialize,
    "deserialize": classmethod(_deserialize),
    "deserialize_key": classmethod(_deserialize),
}
