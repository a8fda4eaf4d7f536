"""The examples of docs/ run against a node as they are printed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.node.wire import PATIENCE_S
from tests.ros.workspace import REPOSITORY, find_messages, ros_environment

pytestmark = pytest.mark.ros

#: Makes `vl2_ros.msg` importable, as a sourced workspace does, and runs an example.
RUN = "import runpy, sys; from tests.ros.workspace import find_messages; find_messages(); "
RUN += "del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
needs_py_trees = pytest.mark.skipif(
    importlib.util.find_spec("py_trees") is None, reason="ros: py_trees is not installed"
)

Example = Callable[..., tuple[int, str]]


@pytest.fixture
def run_example(dds_domain) -> Iterator[Example]:
    """Run a file of docs/examples; returns its exit code and what it printed."""
    find_messages()

    def run(name: str, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", RUN, f"docs/examples/{name}", *arguments],
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE_S,
            env=ros_environment(dds_domain),
            cwd=REPOSITORY,
        )
        return done.returncode, done.stdout + done.stderr

    yield run


@pytest.fixture
def node(running, client):
    """A node that sees two mugs."""
    running.start()
    client.activate()
    client.show_image()
    return running


def test_navigator_prints_what_the_node_sees(node, run_example):
    code, printed = run_example("vision_navigator.py", "find the mug")
    assert code == 0, printed
    lines = printed.splitlines()
    assert "answer to: find the mug" in lines
    assert any(line.startswith("mug 0.90 at ") for line in lines), printed


def test_navigator_cancels_and_reads_why(node, client, run_example):
    """As a robot that drives on: the class is used as Nav2's is."""
    import rclpy

    find_messages()
    path = REPOSITORY / "docs" / "examples" / "vision_navigator.py"
    spec = importlib.util.spec_from_file_location("vision_navigator", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rclpy.init()
    try:
        navigator = module.VisionNavigator()
        assert navigator.getResult() is None and navigator.isTaskComplete()
        node.perceiver.may_answer.clear()
        assert navigator.waitUntilActive(PATIENCE_S)
        assert navigator.ask("find it", deadline_s=60.0)
        assert not navigator.isTaskComplete()
        navigator.cancelTask()
        while not navigator.isTaskComplete():
            pass
        assert not navigator.hasSucceeded()
        assert navigator.getResult().message == "stopped on request"
    finally:
        node.perceiver.may_answer.set()
        navigator.destroy_node()
        rclpy.shutdown()


def test_navigator_says_that_the_node_is_not_active(running, run_example):
    running.start()
    code, printed = run_example("vision_navigator.py", "find the mug")
    assert (code, printed.strip()) == (1, "the node is not there or not active")


@needs_py_trees
def test_tree_finds_a_thing(node, run_example):
    code, printed = run_example("find_tree.py", "mug", "bowl")
    assert (code, printed.strip()) == (0, "answer to: find the mug"), printed


@needs_py_trees
def test_tree_goes_on_to_the_next_thing(node, run_example):
    def run(frame, command, memory, answer=node.perceiver.run):
        if "mug" in command.text:
            raise ValueError("no idea")
        yield from answer(frame, command, memory)

    node.perceiver.run = run
    code, printed = run_example("find_tree.py", "mug", "bowl")
    assert (code, printed.strip()) == (0, "answer to: find the bowl"), printed
