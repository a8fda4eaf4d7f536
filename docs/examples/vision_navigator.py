"""Ask the node in the way of Nav2's simple commander: send a goal, poll, read the result.

python3 vision_navigator.py "find the red mug"
"""

import sys
import time

import rclpy
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.node import Node
from vl2_ros.action import Perceive
from vl2_ros.msg import VisionCommand, VisionResult


class VisionNavigator(Node):
    """One goal at a time of the action `/vl2/perceive`."""

    def __init__(self, node_name: str = "vision_navigator", perception: str = "/vl2", **options):
        super().__init__(node_name, **options)
        self._client = ActionClient(self, Perceive, f"{perception}/perceive")
        self._goal = None
        self._result = None
        self._feedback = None

    def waitUntilActive(self, timeout_s: float = 60.0) -> bool:
        """Wait for the action; goals are rejected until the node is active."""
        return self._client.wait_for_server(timeout_s)

    def ask(self, sentence: str, camera: str = "", deadline_s: float = 0.0) -> bool:
        """Send a goal; False when it is rejected, as by a node that is not active."""
        command = VisionCommand(text=sentence, camera=camera, deadline_s=deadline_s)
        self._result = self._feedback = None
        sent = self._client.send_goal_async(Perceive.Goal(command=command), self._take_feedback)
        rclpy.spin_until_future_complete(self, sent)
        self._goal = sent.result()
        if self._goal.accepted:
            self._result = self._goal.get_result_async()
        return self._goal.accepted

    def isTaskComplete(self) -> bool:
        """Spin for a moment; True when the result is there, or nothing was asked."""
        if self._result is None:
            return True
        rclpy.spin_until_future_complete(self, self._result, timeout_sec=0.1)
        return self._result.done()

    def getFeedback(self) -> Perceive.Feedback | None:
        """Return the last stage, progress and text so far."""
        return self._feedback

    def cancelTask(self) -> None:
        """Cancel the goal; its result follows, with the status CANCELED."""
        if self._result is not None:
            rclpy.spin_until_future_complete(self, self._goal.cancel_goal_async())

    def getResult(self) -> VisionResult | None:
        """Return the result of the last goal; its status and message say how it ended."""
        return self._result.result().result.result if self._result is not None else None

    def hasSucceeded(self) -> bool:
        """Return whether the last goal was answered."""
        return (
            self._result is not None and self._result.result().status == GoalStatus.STATUS_SUCCEEDED
        )

    def _take_feedback(self, message: Perceive.Impl.FeedbackMessage) -> None:
        self._feedback = message.feedback


def main() -> int:
    rclpy.init()
    navigator = VisionNavigator()
    if not (navigator.waitUntilActive() and navigator.ask(sys.argv[1], deadline_s=30.0)):
        print("the node is not there or not active")
        return 1
    begin = time.monotonic()
    while not navigator.isTaskComplete():
        feedback = navigator.getFeedback()
        if feedback is not None:
            print(f"{feedback.stage}: {feedback.text}")
        if time.monotonic() - begin > 60.0:
            navigator.cancelTask()
    result = navigator.getResult()
    if not navigator.hasSucceeded():
        print(f"no answer: {result.message}")
        return 1
    print(result.text)
    for one in result.instances:
        center = one.box.center.position
        print(f"{one.label} {one.score:.2f} at {center.x:.0f}, {center.y:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
