"""One node: `ros2 launch vl2_ros perception.launch.py image:=/camera/image_raw`."""

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

#: Name, default and meaning of each argument.
ARGUMENTS = (
    ("image", "image", "image topic; <image>/compressed and camera_info beside it belong to it"),
    ("depth", "depth", "registered depth topic, for places in space"),
    ("name", "vl2", "name of the node"),
    ("namespace", "", "namespace of the node"),
    ("weights", "", "checkpoint folder; empty: the embedded model"),
    ("device", "auto", "cpu, cuda, cuda:1, ..., or auto"),
    ("respawn", "true", "start the node again when it ends; false leaves it out"),
    ("autostart", "true", "configure and activate at once; false waits for a lifecycle manager"),
    ("log_level", "info", "debug, info, warn or error"),
)
#: Seconds between the end of a node and the start of the next.
RESPAWN_DELAY_S = 1.0


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node."""
    default_file = PathJoinSubstitution([FindPackageShare("vl2_ros"), "launch", "perception.yaml"])
    said = {name: LaunchConfiguration(name) for name, *_ in ARGUMENTS}
    node = Node(
        package="vl2_ros",
        executable="perception",
        name=said["name"],
        namespace=said["namespace"],
        output="screen",
        emulate_tty=True,
        respawn=said["respawn"],
        respawn_delay=RESPAWN_DELAY_S,
        parameters=[
            LaunchConfiguration("params_file"),
            {
                "weights": ParameterValue(said["weights"], value_type=str),
                "device": ParameterValue(said["device"], value_type=str),
                "autostart": ParameterValue(said["autostart"], value_type=bool),
            },
        ],
        remappings=[("image", said["image"]), ("depth", said["depth"])],
        ros_arguments=["--log-level", said["log_level"]],
    )
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=value, description=text)
                for name, value, text in ARGUMENTS
            ),
            DeclareLaunchArgument(
                "params_file", default_value=default_file, description="parameters of the node"
            ),
            node,
        ]
    )
