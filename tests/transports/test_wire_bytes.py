"""Compare two independent writers of messages: the DDS binding's IDL and the type library's.

DDS matches types by name only; other fields under the same name would deliver garbage.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import cyclonedds.idl.types as idl
import numpy as np
import pytest
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore

from vl2_ros.transports.dds.announcement import DISCOVERY_TYPE
from vl2_ros.transports.dds.idl_types import IdlTypes, dds_type_name
from vl2_ros.transports.message_types import StoreMessageTypes, read_definitions

REPOSITORY = Path(__file__).resolve().parents[2]
TYPES = StoreMessageTypes()
STORE = TYPES.typestore
IDL = IdlTypes(STORE)
#: What the node sends or takes beside its own types.
STANDARD = (
    "std_msgs/msg/String",
    "std_msgs/msg/Header",
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/CameraInfo",
    "vision_msgs/msg/Detection2DArray",
    "vision_msgs/msg/Detection3DArray",
    "visualization_msgs/msg/MarkerArray",
    "diagnostic_msgs/msg/DiagnosticArray",
    "vision_msgs/msg/LabelInfo",
    DISCOVERY_TYPE,
)
VISION_RESULT = "vl2_ros/msg/VisionResult"
OURS = tuple(read_definitions())
WORDS = ("", "mug", "red mug, left", "Müller", "物", "x" * 37)


class Filler:
    """Gives the same random values to a message of either kind."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def message(self, type_name: str) -> tuple[Any, Any]:
        pairs = {name: self.value(desc) for name, desc in STORE.fielddefs[type_name][1]}
        ours = TYPES.make(type_name, **{name: pair[0] for name, pair in pairs.items()})
        theirs = IDL.plain(type_name)(**{name: pair[1] for name, pair in pairs.items()})
        return ours, theirs

    def value(self, desc: Any) -> tuple[Any, Any]:
        kind, detail = desc
        if kind == Nodetype.NAME:
            return self.message(detail)
        if kind == Nodetype.BASE:
            one = self.scalar(detail[0])
            return one, one
        # No elements, one, or a few: padding differs in each case.
        count = detail[1] if kind == Nodetype.ARRAY else int(self.rng.integers(0, 4))
        pairs = [self.value(detail[0]) for _ in range(count)]
        ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        if detail[0][0] == Nodetype.BASE and detail[0][1][0] != "string":
            if kind == Nodetype.ARRAY and detail[0][1][0] in ("char", "uint8"):
                theirs = bytes(theirs)  # as the binding reads them
            return np.array(ours, self.dtype(detail[0][1][0])), theirs
        return ours, theirs

    def dtype(self, name: str) -> np.dtype:
        return np.dtype({"byte": "int8", "char": "uint8"}.get(name, name))

    def scalar(self, name: str) -> Any:
        if name == "string":
            return WORDS[self.rng.integers(len(WORDS))]
        if name == "bool":
            return bool(self.rng.integers(2))
        if name.startswith("float"):
            return float(np.float32(self.rng.normal()))
        if name == "byte":
            return int(self.rng.integers(0, 128))
        limits = np.iinfo(self.dtype(name))
        return int(self.rng.integers(limits.min, limits.max, endpoint=True, dtype=limits.dtype))


@pytest.mark.parametrize("type_name", OURS + STANDARD)
def test_both_writers_make_the_same_bytes(type_name):
    for seed in range(20):
        ours, theirs = Filler(seed).message(type_name)
        assert bytes(TYPES.serialize(ours)) == theirs.serialize(), f"seed {seed}: {ours}"


@pytest.mark.parametrize("type_name", OURS + STANDARD)
def test_each_reads_what_the_other_wrote(type_name):
    ours, theirs = Filler(3).message(type_name)
    assert IDL.plain(type_name).deserialize(bytes(TYPES.serialize(ours))) == theirs
    padded = theirs.serialize()
    padded += bytes(-len(padded) % 4)  # as samples arrive
    assert bytes(TYPES.serialize(TYPES.deserialize(padded, type_name))) == theirs.serialize()


@pytest.mark.parametrize("type_name", OURS)
def test_definition_dataclass_and_idl_type_have_the_same_fields(type_name):
    written = read_fields(read_definitions()[type_name])
    if not written:
        written = [("structure_needs_at_least_one_member", "uint8")]
    dataclass_names = list(STORE.types[type_name].__annotations__)
    assert dataclass_names[: len(written)] == [name for name, _ in written]
    for idl_type in (IDL.plain(type_name), IDL.sample(type_name)):
        hints = get_type_hints(idl_type, include_extras=True)
        hints.pop("cdr", None)
        assert list(hints) == [name for name, _ in written]
        assert [describe(hint) for hint in hints.values()] == [kind for _, kind in written]
        assert idl_type.__idl_typename__.replace(".", "::") == dds_type_name(type_name)


def test_dds_names_are_those_of_ros():
    assert dds_type_name("sensor_msgs/msg/Image") == "sensor_msgs::msg::dds_::Image_"
    assert dds_type_name("vl2_ros/srv/Stop_Request") == "vl2_ros::srv::dds_::Stop_Request_"


@pytest.mark.parametrize("type_name", OURS + STANDARD)
def test_types_are_final_and_have_no_key(type_name):
    sample = IDL.sample(type_name)
    sample.__idl__.populate()
    assert sample.__idl__.keyless
    assert sample.__idl_annotations__.get("extensibility", "final") == "final"
    sample.__idl__.fill_type_data()
    plain = IDL.plain(type_name)
    plain.__idl__.populate()
    plain.__idl__.fill_type_data()
    # The type announced to other processes is the full one, however its samples are made.
    assert sample.__idl__.get_type_id() == plain.__idl__.get_type_id()


def read_fields(text: str) -> list[tuple[str, str]]:
    """Read the fields of a definition, apart from every parser: names and full types."""
    fields = []
    for line in text.splitlines():
        line = line.split("#")[0].strip()
        if line and "=" not in line:
            kind, name = line.split()
            element, brackets = re.fullmatch(r"([\w/]+)(\[\])?", kind).groups()
            if element[0].isupper():
                element = f"vl2_ros/{element}"
            fields.append((name, element + (brackets or "")))
    return fields


def describe(hint: Any) -> str:
    """Write an IDL annotation as a definition would."""
    if get_origin(hint) is Annotated and isinstance(get_args(hint)[1], idl.sequence):
        return describe(get_args(hint)[1].subtype) + "[]"
    if get_origin(hint) is Annotated:
        return get_args(hint)[1]
    if hint in (str, bool):
        return {str: "string", bool: "bool"}[hint]
    package, _, _, name = hint.__idl_typename__.split(".")
    return f"{package}/{name.removesuffix('_')}"


def test_dds_learns_types_as_ros_2_declares_them():
    byte, uint8 = (
        find_member(*one)
        for one in (("diagnostic_msgs/msg/DiagnosticStatus", "level"), (VISION_RESULT, "status"))
    )
    assert byte.member_type_id == uint8.member_type_id
    assert byte.member_flags == uint8.member_flags


def find_member(type_name: str, field: str) -> Any:
    """Return how a field is declared to DDS."""
    (whole, *_) = IDL.sample(type_name).__idl__.get_type_mapping().identifier_object_pair_complete
    struct = whole.type_object.value.value
    assert struct.struct_flags.IS_FINAL and not struct.struct_flags.IS_NESTED
    assert struct.header.detail.type_name == dds_type_name(type_name)
    (member,) = [one for one in struct.member_seq if one.detail.name == field]
    return member.common


@pytest.mark.parametrize("distro", ["HUMBLE", "KILTED", "LYRICAL"])
def test_messages_have_the_same_fields_in_every_distribution(distro):
    there = get_typestore(getattr(Stores, f"ROS2_{distro}"))
    names = {*STANDARD, *OURS} - {DISCOVERY_TYPE}
    while added := {part for name in names for part in list_parts(name)} - names:
        names |= added
    standard = {name for name in names if not name.startswith(("vl2_ros/", "vision_msgs/"))}
    assert len(standard) > 20
    for name in standard:
        assert there.fielddefs[name][1] == STORE.fielddefs[name][1], name


def list_parts(type_name: str) -> set[str]:
    """Return the messages that are fields of a message."""
    parts = set()
    for _, (kind, detail) in STORE.fielddefs[type_name][1]:
        if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            kind, detail = detail[0]
        if kind == Nodetype.NAME:
            parts.add(detail)
    return parts
