"""What the node and the launch files use of ROS 2 is there in Humble, Jazzy and Lyrical."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ros_node.ros_apis import HUMBLE_MODULES, KEYWORDS, METHODS

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = {name.partition(".")[0] for name in KEYWORDS}
FILES = sorted(
    path
    for folder in ("launch", "vl2_ros/ros_node", "vl2_ros/transports/ros")
    for path in (REPOSITORY / folder).glob("*.py")
    if "__init__" not in path.name
)


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def tree(request) -> ast.Module:
    return ast.parse(request.param.read_text(encoding="utf-8"))


def find_imports(tree: ast.AST) -> dict[str, str]:
    """Return the names that a file imports from ROS 2, and what they are in full."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES
        for alias in node.names
    }


def find_fallbacks(tree: ast.AST) -> set[str]:
    """Return what is imported from another module where an import fails."""
    fallbacks: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            first = set(find_imports(ast.Module(node.body, [])).values())
            others = {name for one in node.handlers for name in find_imports(one).values()}
            humble = {
                f"{HUMBLE_MODULES[module]}.{name}": f"{module}.{name}"
                for module, _, name in (one.rpartition(".") for one in first)
                if module in HUMBLE_MODULES
            }
            fallbacks |= {one for name, one in humble.items() if name in others}
            fallbacks |= others & humble.keys()
    return fallbacks


def find_calls(tree: ast.AST) -> Iterator[tuple[str, set[str]]]:
    """Yield what is called of ROS 2, and with which keyword arguments."""
    imports = find_imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            keywords = {one.arg for one in node.keywords if one.arg}
            if isinstance(node.func, ast.Name) and node.func.id in imports:
                yield imports[node.func.id], keywords
            elif isinstance(node.func, ast.Attribute):
                name = ast.unparse(node.func)
                yield name if name in KEYWORDS else node.func.attr, keywords


def test_there_are_files_to_check():
    names = {path.name for path in FILES}
    assert {"perception.launch.py", "lifecycle_node.py", "transport.py"} <= names


def test_imported_names_are_in_every_distribution(tree):
    imported = set(find_imports(tree).values())
    assert imported - find_fallbacks(tree) <= KEYWORDS.keys()


def test_keyword_arguments_are_taken_in_every_distribution(tree):
    for name, keywords in find_calls(tree):
        known = KEYWORDS.get(name, METHODS.get(name))
        assert known is None or keywords <= known, name


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("from rclpy.node import Node\nNode('a', context=None)", True),
        ("from rclpy.node import Node\nNode('a', enable_logger_service=True)", False),
        ("import rclpy\nrclpy.init(args=None)", True),
        ("import rclpy\nrclpy.try_shutdown(uninstall_handlers=True)", False),
        ("node.create_timer(1.0, beat, autostart=False)", False),
    ],
)
def test_a_keyword_that_one_distribution_lacks_is_found(text, is_right):
    calls = list(find_calls(ast.parse(text)))
    assert all(words <= KEYWORDS.get(name, METHODS.get(name)) for name, words in calls) == is_right


def test_a_module_that_humble_lacks_needs_a_fallback():
    alone = "from rclpy.event_handler import UnsupportedEventTypeError as error\n"
    whole = (
        f"try:\n    {alone}except ImportError:\n    {alone.replace('event_handler', 'qos_event')}"
    )
    assert find_fallbacks(ast.parse(alone)) == set()
    names = {
        f"rclpy.{module}.UnsupportedEventTypeError" for module in ("event_handler", "qos_event")
    }
    assert find_fallbacks(ast.parse(whole)) == names
