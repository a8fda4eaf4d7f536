"""A recorded camera, the node and rviz: `ros2 launch vl2_ros demo.launch.py`."""

from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackagePrefix, FindPackageShare

from launch import LaunchDescription

IMAGE = "/camera/image_raw"


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the three."""
    folder = PathJoinSubstitution([FindPackageShare("vl2_ros"), "launch"])
    vl2 = PathJoinSubstitution([FindPackagePrefix("vl2_ros"), "lib", "vl2_ros", "vl2"])
    recording = LaunchConfiguration("bag")
    camera = ExecuteProcess(
        cmd=[vl2, "camera", recording, "--transport", "ros", "--onto", IMAGE, "--loop"],
        name="camera",
        output="screen",
    )
    perception = IncludeLaunchDescription(
        [PathJoinSubstitution([folder, "perception.launch.py"])],
        launch_arguments={"image": IMAGE}.items(),
    )
    ask = ExecuteProcess(
        cmd=[vl2, "send", LaunchConfiguration("command"), "--watch", "2", "--transport", "ros"]
        + ["--id", "demo", "--timeout", "120"],
        name="ask",
        output="screen",
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", PathJoinSubstitution([folder, "perception.rviz"])],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "bag",
                default_value=PathJoinSubstitution([FindPackageShare("vl2_ros"), "tabletop.mcap"]),
                description="camera recording: rosbag2 folder, .mcap or .db3",
            ),
            DeclareLaunchArgument(
                "command",
                default_value="segment every mug and bowl",
                description="sentence that is asked about every image",
            ),
            DeclareLaunchArgument("rviz", default_value="true", description="show it in rviz2"),
            camera,
            perception,
            ask,
            rviz,
        ]
    )
