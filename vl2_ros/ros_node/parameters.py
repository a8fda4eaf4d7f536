"""ROS 2 parameters of the node: declared from tables, read back, changed live where safe."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from vl2_ros.errors import ConfigError
from vl2_ros.node.parameters import HearingParameters, NodeParameters, ProcessParameters
from vl2_ros.parameter_table import ParameterNote, note_of, read_list, write_list

Table = TypeVar("Table", bound="NodeParameters | ProcessParameters | HearingParameters")


def declare_parameters(node: Node, table: type) -> None:
    """Declare a parameter for each field of a table, with its description and range.

    Raises:
        ConfigError: if a parameter file or an argument has a value of another type or range.
    """
    for item in dataclasses.fields(table):
        default: Any = item.default
        is_list = isinstance(default, tuple)
        descriptor = _describe(note_of(item.name, table), default)
        # rclpy cannot infer the type of an empty list.
        default = write_list(default) if is_list else default
        try:
            node.declare_parameter(item.name, default, descriptor)
        except ParameterException as error:
            raise ConfigError(
                f"the parameter {item.name} must be like {default!r}, got another type or a value "
                f"out of range: {error}; correct the parameter file or argument"
            ) from error


def read_parameters(node: Node, table: type[Table]) -> Table:
    """Read a table back from a node.

    Raises:
        ConfigError: if a value, or two together, cannot work.
    """
    return _make(table, _read_values(node, table))


def check_change(
    node: Node, changes: list[Parameter], tables: Sequence[type], is_configured: bool
) -> tuple[SetParametersResult, list[Any]]:
    """Decide on a change of parameters before it is made.

    Args:
        node: has the current values.
        changes: of any parameters, including those that are not in the tables.
        tables: of the node.
        is_configured: only live parameters may change then.

    Returns:
        The verdict, and the tables of which something changes, with the changes.
    """
    changed_tables: list[Any] = []
    for table in tables:
        current = _read_values(node, table)
        # What stays as it is changes nothing: `ros2 param load` sets all that a file has.
        wanted = {
            change.name: change.value
            for change in changes
            if change.name in current and not _is_same(change.value, current[change.name])
        }
        if not wanted:
            continue
        fixed = [name for name in wanted if not note_of(name, table).live]
        if fixed and is_configured:
            return _refuse(
                f"{fixed[0]} does not change while the node is configured; clean it up first: "
                f"ros2 lifecycle set {node.get_fully_qualified_name()} deactivate, then cleanup"
            ), []
        try:
            changed_tables.append(_make(table, current | wanted))
        except ConfigError as error:
            return _refuse(str(error)), []
    return SetParametersResult(successful=True), changed_tables


def _read_values(node: Node, table: type) -> dict[str, Any]:
    return {item.name: node.get_parameter(item.name).value for item in dataclasses.fields(table)}


def _is_same(value: Any, current: Any) -> bool:
    # rclpy checks types after us, and 0 equals False.
    return type(value) is type(current) and bool(value == current)


def _make(table: type[Table], values: dict[str, Any]) -> Table:
    lists = {item.name for item in dataclasses.fields(table) if isinstance(item.default, tuple)}
    fields: dict[str, Any] = {
        name: read_list(value or ()) if name in lists else value for name, value in values.items()
    }
    return table(**fields)


def _describe(note: ParameterNote, default: Any) -> ParameterDescriptor:
    text = note.text if note.live else f"{note.text} (set before the node is configured)"
    descriptor = ParameterDescriptor(description=text)
    if note.choices:
        descriptor.additional_constraints = f"one of {', '.join(note.choices)}"
    if note.least is None or note.most is None:
        return descriptor
    if isinstance(default, int):
        descriptor.integer_range = [
            IntegerRange(from_value=int(note.least), to_value=int(note.most), step=1)
        ]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=note.least, to_value=note.most, step=0.0)
        ]
    return descriptor


def _refuse(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)
