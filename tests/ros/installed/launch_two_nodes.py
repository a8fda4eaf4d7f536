"""For launch_test: two nodes of one launch, apart by namespace, topics, parameters and results."""

from __future__ import annotations

import time
import unittest

import launch_testing
import launch_testing.actions
import launch_testing.asserts
import rclpy
from launch.actions import ExecuteProcess, GroupAction, IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import PushRosNamespace
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare
from rcl_interfaces.srv import GetParameters
from rclpy.task import Future
from vl2_ros.msg import VisionCommand, VisionResult

from launch import LaunchDescription

PATIENCE_S = 120.0


def start_node(namespace: str, **arguments: str) -> GroupAction:
    """Start a node in a group, whose arguments are then not those of the next one."""
    folder = PathJoinSubstitution([FindPackageShare("vl2_ros"), "launch"])
    node = IncludeLaunchDescription(
        [PathJoinSubstitution([folder, "perception.launch.py"])],
        launch_arguments=arguments.items(),
    )
    return GroupAction([PushRosNamespace(namespace), node])


def generate_test_description() -> LaunchDescription:
    bag = PathJoinSubstitution([FindPackageShare("vl2_ros"), "tabletop.mcap"])
    camera = [ExecutableInPackage(package="vl2_ros", executable="vl2"), "camera", bag, "--loop"]
    camera += ["--transport", "ros", "--onto"]
    return LaunchDescription(
        [
            start_node("left", image="/left_eye/image_raw", image_reliability="reliable"),
            start_node("right", image="/right_eye/image_raw", name="eye"),
            ExecuteProcess(cmd=[*camera, "/left_eye/image_raw"]),
            ExecuteProcess(cmd=[*camera, "/right_eye/image_raw"]),
            launch_testing.actions.ReadyToTest(),
        ]
    )


class TestNodes(unittest.TestCase):
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

    def ask(self, name: str) -> list[VisionResult]:
        """Ask one node, and return all results on its topic until its answer is there."""
        results: list[VisionResult] = []
        answered, results_of = Future(), f"{name}/result"

        def take(result: VisionResult) -> None:
            results.append(result)
            if result.status == VisionResult.OK and not answered.done():
                answered.set_result(None)

        self.node.create_subscription(VisionResult, results_of, take, 10)
        publisher = self.node.create_publisher(VisionCommand, f"{name}/vision_command", 10)
        end = time.monotonic() + PATIENCE_S
        while not (publisher.get_subscription_count() and self.node.count_publishers(results_of)):
            self.assertLess(time.monotonic(), end, f"{name} did not come")
            rclpy.spin_once(self.node, timeout_sec=0.1)
        publisher.publish(VisionCommand(id=f"for {name}", text="find every cube", deadline_s=60.0))
        self.wait(answered)
        return results

    def test_each_answers_its_own_command_about_its_own_camera(self) -> None:
        for name in ("/left/vl2", "/right/eye"):
            self.assertEqual({one.command_id for one in self.ask(name)}, {f"for {name}"})
        # The recording is compressed, and that is the form that is subscribed then.
        subscribed = {
            f"{side}_eye": {
                one.node_namespace + "/" + one.node_name
                for form in ("", "/compressed")
                for one in self.node.get_subscriptions_info_by_topic(f"/{side}_eye/image_raw{form}")
            }
            for side in ("left", "right")
        }
        self.assertEqual(subscribed, {"left_eye": {"/left/vl2"}, "right_eye": {"/right/eye"}})

    def test_an_argument_of_one_is_not_the_other_ones(self) -> None:
        values = []
        for name in ("/left/vl2", "/right/eye"):
            client = self.node.create_client(GetParameters, f"{name}/get_parameters")
            self.assertTrue(client.wait_for_service(PATIENCE_S))
            request = GetParameters.Request(names=["image_reliability"])
            (value,) = self.wait(client.call_async(request)).values
            values.append(value.string_value)
        self.assertEqual(values, ["reliable", "auto"])


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    def test_everything_ended_by_itself(self, proc_info) -> None:
        launch_testing.asserts.assertExitCodes(proc_info, allowable_exit_codes=[0])
