"""For launch_test: the launch file brings the node up, it answers, and it ends cleanly."""

from __future__ import annotations

import time
import unittest

import launch_testing
import launch_testing.actions
import launch_testing.asserts
import rclpy
from launch.actions import IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare
from lifecycle_msgs.srv import GetState
from rclpy.action import ActionClient
from rclpy.task import Future
from vl2_ros.action import Perceive
from vl2_ros.msg import VisionCommand, VisionResult

from launch import LaunchDescription

PATIENCE_S = 120.0


def generate_test_description() -> LaunchDescription:
    folder = PathJoinSubstitution([FindPackageShare("vl2_ros"), "launch"])
    demo = IncludeLaunchDescription(
        [PathJoinSubstitution([folder, "demo.launch.py"])],
        launch_arguments={"rviz": "false", "command": "segment every cube"}.items(),
    )
    return LaunchDescription([demo, launch_testing.actions.ReadyToTest()])


class TestNode(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        rclpy.init()

    @classmethod
    def tearDownClass(cls) -> None:
        rclpy.shutdown()

    def setUp(self) -> None:
        self.node = rclpy.create_node("tester")

    def tearDown(self) -> None:
        self.node.destroy_node()

    def wait(self, future: Future):
        rclpy.spin_until_future_complete(self.node, future, timeout_sec=PATIENCE_S)
        self.assertTrue(future.done(), "no answer in time")
        return future.result()

    def wait_until_active(self) -> None:
        states = self.node.create_client(GetState, "/vl2/get_state")
        self.assertTrue(states.wait_for_service(PATIENCE_S))
        end = time.monotonic() + PATIENCE_S
        while self.wait(states.call_async(GetState.Request())).current_state.label != "active":
            self.assertLess(time.monotonic(), end, "the node did not become active")
            time.sleep(0.2)

    def test_watch_of_the_demo_gives_results(self) -> None:
        """A late subscriber gets results too, and they continue."""
        results: list[VisionResult] = []
        third = Future()

        def take(result: VisionResult) -> None:
            results.append(result)
            if len(results) == 3:
                third.set_result(None)

        self.node.create_subscription(VisionResult, "/vl2/result", take, 10)
        self.wait(third)
        for result in results:
            self.assertEqual((result.command_id, result.status), ("demo", VisionResult.OK))
            self.assertEqual(result.routes, ["segment"])
            self.assertEqual(result.header.frame_id, "camera_optical_frame")

    def test_action_answers(self) -> None:
        self.wait_until_active()
        actions = ActionClient(self.node, Perceive, "/vl2/perceive")
        self.assertTrue(actions.wait_for_server(PATIENCE_S))
        goal = Perceive.Goal(command=VisionCommand(text="find every cube", deadline_s=60.0))
        handle = self.wait(actions.send_goal_async(goal))
        self.assertTrue(handle.accepted)
        result = self.wait(handle.get_result_async()).result.result
        self.assertEqual(result.status, VisionResult.OK, result.message)
        self.assertEqual((result.routes, result.model), (["detect"], "embedded"))

    def test_node_becomes_active_by_itself(self) -> None:
        self.wait_until_active()


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    def test_everything_ended_by_itself(self, proc_info) -> None:
        launch_testing.asserts.assertExitCodes(proc_info, allowable_exit_codes=[0])
