"""The node, and ears for it: `ros2 launch vl2_ros perception.launch.py speech:=true`."""

from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from vl2_ros.ros_node import launching
from vl2_ros.ros_node.launching import Argument

#: Parameters that have an argument; one that is not given is that of the parameter file.
PARAMETERS = ("weights", "device", "backend", "autostart", "cameras", "depth_topics")
PARAMETERS += ("image_transport", "image_reliability", "use_sim_time")
#: The same of the hearing node.
HEARING_PARAMETERS = ("speech_weights", "wake_phrase", "autostart", "use_sim_time")
#: Topics that an argument of the same name remaps.
TOPICS = ("image", "depth")
ARGUMENTS = (
    Argument("image", "", "topic that the camera image is remapped to; camera_info lies beside it"),
    Argument("depth", "", "topic that depth is remapped to: registered depth, for 3-D positions"),
    Argument("speech", "false", "start the hearing node as well, in a process of its own"),
    Argument("audio", "", "topic that the audio of the hearing node is remapped to"),
    Argument("name", "vl2", "name of the node; the hearing node is <name>_hearing"),
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
    *launching.make_parameter_arguments(dict.fromkeys((*PARAMETERS, *HEARING_PARAMETERS))),
)


def start(context: LaunchContext) -> list[Node]:
    """Start the nodes, with what was given."""
    given = context.launch_configurations
    nodes = [launching.make_node(context, "perception", given["name"], PARAMETERS, TOPICS)]
    if launching.is_true("speech", given["speech"]):
        name = f"{given['name']}_hearing"
        hearing = launching.make_node(context, "hearing", name, HEARING_PARAMETERS, ("audio",))
        nodes.append(hearing)
    return nodes


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    return LaunchDescription([*launching.declare(ARGUMENTS), OpaqueFunction(function=start)])
