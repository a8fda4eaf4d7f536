"""A recorded camera, the node and rviz: `ros2 launch vl2_ros demo.launch.py`."""

from launch.action import Action
from launch.actions import ExecuteProcess, IncludeLaunchDescription, OpaqueFunction
from launch_ros.substitutions import ExecutableInPackage

from launch import LaunchContext, LaunchDescription
from vl2_ros.ros_node import launching
from vl2_ros.ros_node.launching import Argument

IMAGE = "/camera/image_raw"
ARGUMENTS = (
    Argument(
        "bag",
        str(launching.find_launch_folder().parent / "tabletop.mcap"),
        "camera recording: rosbag2 folder, .mcap or .db3",
    ),
    Argument("command", "segment every mug and bowl", "sentence that is asked about every image"),
    Argument("rviz", "true", "show it in rviz2, where that is installed"),
)


def start_others(context: LaunchContext) -> list[Action]:
    """Start what sends images, asks and draws, beside the node and by its name."""
    given = context.launch_configurations
    vl2 = [ExecutableInPackage(package="vl2_ros", executable="vl2")]
    options = {"output": "screen", "additional_env": launching.find_environment(context)}
    camera = ["camera", given["bag"], "--transport", "ros", "--onto", IMAGE, "--loop"]
    ask = ["send", given["command"], "--watch", "2", "--transport", "ros", "--id", "demo"]
    ask += ["--timeout", "120", "--node-name", given["name"]]
    ask += ["--namespace", launching.find_namespace(context)]
    others: list[Action] = [
        ExecuteProcess(cmd=vl2 + camera, name="camera", **options),
        ExecuteProcess(cmd=vl2 + ask, name="ask", **options),
    ]
    if launching.is_true("rviz", given["rviz"]):
        others.append(launching.make_rviz(context))
    return others


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the four; all arguments of the node are those of this."""
    perception = IncludeLaunchDescription(
        [str(launching.find_launch_folder() / "perception.launch.py")],
        launch_arguments={"image": IMAGE}.items(),
    )
    return LaunchDescription(
        [*launching.declare(ARGUMENTS), perception, OpaqueFunction(function=start_others)]
    )
