"""A behaviour tree that looks for one thing after the other, with py_trees (pip install py_trees).

python3 find_tree.py "red mug" "bowl"
"""

import sys
import time

import py_trees
import rclpy
from py_trees.common import Access, Status
from rclpy.action import ActionClient
from rclpy.node import Node
from vl2_ros.action import Perceive
from vl2_ros.msg import VisionCommand, VisionResult


class Find(py_trees.behaviour.Behaviour):
    """SUCCESS when the node sees the thing, and its instances are on the blackboard.

    RUNNING while it looks; FAILURE when it sees none, or cannot answer. Interrupted by a parent,
    the goal is canceled on the node.
    """

    def __init__(self, node: Node, thing: str, perception: str = "/vl2", deadline_s: float = 10.0):
        super().__init__(f"find {thing}")
        self._client = ActionClient(node, Perceive, f"{perception}/perceive")
        self._command = VisionCommand(text=f"find the {thing}", deadline_s=deadline_s)
        self._found = self.attach_blackboard_client(self.name)
        self._found.register_key("instances", Access.WRITE)

    def initialise(self) -> None:
        """Send the goal; nothing here waits, as the tree ticks on."""
        self._goal = self._result = None
        self._sent = None
        if self._client.server_is_ready():
            self._sent = self._client.send_goal_async(Perceive.Goal(command=self._command))

    def update(self) -> Status:
        if self._sent is None:
            return self._fail("the node is not there")
        if not self._sent.done():
            return Status.RUNNING
        if self._goal is None:
            self._goal = self._sent.result()
            if not self._goal.accepted:
                return self._fail("the node is not active")
            self._result = self._goal.get_result_async()
        if not self._result.done():
            return Status.RUNNING
        result = self._result.result().result.result
        if result.status != VisionResult.OK or not result.instances:
            return self._fail(result.message or "nothing like it is in the image")
        self._found.instances = result.instances
        self.feedback_message = result.text
        return Status.SUCCESS

    def terminate(self, new_status: Status) -> None:
        if new_status == Status.INVALID and self._goal is not None and self._goal.accepted:
            self._goal.cancel_goal_async()
        self._goal = None

    def _fail(self, reason: str) -> Status:
        self.feedback_message = reason
        return Status.FAILURE


def make_tree(node: Node, things: list[str]) -> py_trees.trees.BehaviourTree:
    """Look for each thing until one is found; a frame that shows none of them fails."""
    root = py_trees.composites.Selector("look", memory=True)
    root.add_children([Find(node, thing) for thing in things])
    return py_trees.trees.BehaviourTree(root)


def main() -> int:
    rclpy.init()
    node = rclpy.create_node("find_tree")
    tree = make_tree(node, sys.argv[1:])
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        tree.tick()
        if tree.root.status == Status.SUCCESS:
            print(tree.tip().feedback_message)
            return 0
        rclpy.spin_once(node, timeout_sec=0.1)
    print(f"{tree.tip().name}: {tree.tip().feedback_message}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
