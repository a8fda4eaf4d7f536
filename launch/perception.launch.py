"""One node: `ros2 launch vl2_ros perception.launch.py image:=/camera/image_raw`."""

from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from vl2_ros.ros_node import launching
from vl2_ros.ros_node.launching import Argument

#: Parameters that have an argument; one that is not given is that of the parameter file.
PARAMETERS = ("weights", "device", "backend", "autostart", "cameras", "depth_topics")
PARAMETERS += ("image_transport", "image_reliability", "use_sim_time")
#: Topics that an argument of the same name remaps.
TOPICS = ("image", "depth")
ARGUMENTS = (
    Argument("image", "", "topic that the camera image is remapped to; camera_info lies beside it"),
    Argument("depth", "", "topic that depth is remapped to: registered depth, for 3-D positions"),
    Argument("name", "vl2", "name of the node"),
    Argument("namespace", "", "namespace of the node"),
    Argument(
        "params_file",
        str(launching.find_launch_folder() / "perception.yaml"),
        "parameters of the node; an argument that is given goes before it",
    ),
    Argument("respawn", "true", "restart the node when it ends"),
    Argument("log_level", "info", "debug, info, warn or error"),
    Argument(
        "dds_settings",
        "true",
        "use cyclonedds.xml and fastdds.xml of this folder, unless the environment names others",
    ),
    *launching.make_parameter_arguments(PARAMETERS),
)
#: Seconds between the end of a node and the start of the next.
RESPAWN_DELAY_S = 1.0


def start(context: LaunchContext) -> list[Node]:
    """Start the node, with what was given."""
    given = context.launch_configurations
    return [
        Node(
            package="vl2_ros",
            executable="perception",
            name=given["name"],
            namespace=given["namespace"],
            output="screen",
            emulate_tty=True,
            respawn=launching.is_true("respawn", given["respawn"]),
            respawn_delay=RESPAWN_DELAY_S,
            parameters=[
                launching.find_params_file(context),
                launching.read_parameters(context, PARAMETERS),
            ],
            remappings=launching.find_remappings(context, TOPICS),
            ros_arguments=["--log-level", given["log_level"]],
            additional_env=launching.find_environment(context),
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node."""
    return LaunchDescription([*launching.declare(ARGUMENTS), OpaqueFunction(function=start)])
