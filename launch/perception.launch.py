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
    ("depth", "depth", "registered depth topic, for positions in space"),
    ("name", "vl2", "name of the node"),
    ("namespace", "", "namespace of the node"),
    ("weights", "", "checkpoint folder; by default the embedded model"),
    ("device", "auto", "cpu, cuda, cuda:1, ..., or auto"),
    ("respawn", "true", "restart the node when it ends"),
    ("autostart", "true", "configure and activate at once; false: wait for a lifecycle manager"),
    ("log_level", "info", "debug, info, warn or error"),
)
#: Seconds between the end of a node and the start of the next.
RESPAWN_DELAY_S = 1.0


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node."""
    default_file = PathJoinSubstitution([FindPackageShare("vl2_ros"), "launch", "perception.yaml"])
    arguments = {name: LaunchConfiguration(name) for name, *_ in ARGUMENTS}
    node = Node(
        package="vl2_ros",
        executable="perception",
        name=arguments["name"],
        namespace=arguments["namespace"],
        output="screen",
        emulate_tty=True,
        respawn=arguments["respawn"],
        respawn_delay=RESPAWN_DELAY_S,
        parameters=[
            LaunchConfiguration("params_file"),
            {
                "weights": ParameterValue(arguments["weights"], value_type=str),
                "device": ParameterValue(arguments["device"], value_type=str),
                "autostart": ParameterValue(arguments["autostart"], value_type=bool),
            },
        ],
        remappings=[("image", arguments["image"]), ("depth", arguments["depth"])],
        ros_arguments=["--log-level", arguments["log_level"]],
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
