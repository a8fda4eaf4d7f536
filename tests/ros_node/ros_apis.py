"""Names of ROS 2 that the node and the launch files use, with what every distribution takes.

Read from the sources of Humble (rclpy 3.3), Jazzy (7.1) and what followed it (8.0); for Lyrical
its change log and its documentation were read as well.
"""

from __future__ import annotations

_PROCESS = (
    "cmd prefix name cwd env additional_env shell sigterm_timeout sigkill_timeout emulate_tty "
    "output output_format on_exit respawn respawn_delay condition"
)
_NODE = (
    "node_name context cli_args namespace use_global_arguments enable_rosout "
    "start_parameter_services parameter_overrides allow_undeclared_parameters "
    "automatically_declare_parameters_from_overrides"
)
_QOS = "history depth reliability durability lifespan deadline liveliness"

#: Name in full -> keyword arguments that Humble, Jazzy and Lyrical all take.
KEYWORDS: dict[str, frozenset[str]] = {
    name: frozenset(keywords.split())
    for name, keywords in {
        "launch.LaunchDescription": "initial_entities",
        "launch.LaunchContext": "",
        "launch.action.Action": "condition",
        "launch.actions.DeclareLaunchArgument": "default_value description choices condition",
        "launch.actions.ExecuteProcess": _PROCESS,
        "launch.actions.GroupAction": "actions scoped forwarding launch_configurations condition",
        "launch.actions.IncludeLaunchDescription": "launch_arguments condition",
        "launch.actions.LogInfo": "msg condition",
        "launch.actions.OpaqueFunction": "function args kwargs condition",
        "launch.actions.RegisterEventHandler": "condition",
        "launch.actions.SetEnvironmentVariable": "name value condition",
        "launch.conditions.IfCondition": "",
        "launch.conditions.UnlessCondition": "",
        "launch.event_handlers.OnProcessExit": "target_action on_exit",
        "launch.launch_description_sources.PythonLaunchDescriptionSource": "",
        "launch.substitutions.EnvironmentVariable": "default_value",
        "launch.substitutions.LaunchConfiguration": "default",
        "launch.substitutions.PathJoinSubstitution": "",
        "launch.substitutions.PythonExpression": "",
        "launch_ros.actions.Node": _PROCESS
        + " executable package namespace exec_name parameters remappings ros_arguments arguments",
        "launch_ros.actions.PushRosNamespace": "namespace condition",
        "launch_ros.actions.SetParameter": "name value condition",
        "launch_ros.parameter_descriptions.ParameterFile": "param_file allow_substs",
        "launch_ros.parameter_descriptions.ParameterValue": "value value_type",
        "launch_ros.substitutions.ExecutableInPackage": "executable package",
        "launch_ros.substitutions.FindPackagePrefix": "",
        "launch_ros.substitutions.FindPackageShare": "",
        "launch_ros.utilities.make_namespace_absolute": "ns",
        "launch_ros.utilities.prefix_namespace": "base_ns ns",
        "rcl_interfaces.msg.FloatingPointRange": "from_value step to_value",
        "rcl_interfaces.msg.IntegerRange": "from_value step to_value",
        "rcl_interfaces.msg.ParameterDescriptor": (
            "name type description additional_constraints read_only dynamic_typing "
            "floating_point_range integer_range"
        ),
        "rcl_interfaces.msg.SetParametersResult": "successful reason",
        "rcl_interfaces.srv.SetParameters": "",
        "rclpy.init": "args context domain_id signal_handler_options",
        "rclpy.try_shutdown": "context",
        "rclpy.action.ActionClient": (
            "callback_group goal_service_qos_profile result_service_qos_profile "
            "cancel_service_qos_profile feedback_sub_qos_profile status_sub_qos_profile"
        ),
        "rclpy.action.ActionServer": (
            "callback_group goal_callback handle_accepted_callback cancel_callback "
            "goal_service_qos_profile result_service_qos_profile cancel_service_qos_profile "
            "feedback_pub_qos_profile status_pub_qos_profile result_timeout"
        ),
        "rclpy.action.CancelResponse": "",
        "rclpy.action.GoalResponse": "",
        "rclpy.action.server.ServerGoalHandle": "",
        "rclpy.callback_groups.MutuallyExclusiveCallbackGroup": "",
        "rclpy.callback_groups.ReentrantCallbackGroup": "",
        "rclpy.clock.Clock": "clock_type",
        "rclpy.clock.ClockChange": "",
        "rclpy.clock.ClockType": "",
        "rclpy.clock.JumpThreshold": "min_forward min_backward on_clock_change",
        "rclpy.clock.TimeJump": "",
        "rclpy.context.Context": "",
        "rclpy.duration.Duration": "seconds nanoseconds",
        "rclpy.exceptions.InvalidHandle": "",
        "rclpy.exceptions.ParameterException": "",
        "rclpy.executors.ExternalShutdownException": "",
        "rclpy.executors.MultiThreadedExecutor": "num_threads context",
        "rclpy.executors.SingleThreadedExecutor": "context",
        "rclpy.lifecycle.LifecycleNode": f"{_NODE} enable_communication_interface",
        "rclpy.lifecycle.LifecycleState": "label state_id",
        "rclpy.lifecycle.TransitionCallbackReturn": "",
        "rclpy.node.Node": _NODE,
        "rclpy.parameter.Parameter": "name type_ value",
        "rclpy.qos.DurabilityPolicy": "",
        "rclpy.qos.HistoryPolicy": "",
        "rclpy.qos.QoSPolicyKind": "",
        "rclpy.qos.QoSProfile": _QOS,
        "rclpy.qos.ReliabilityPolicy": "",
        "rclpy.qos.qos_policy_name_from_kind": "",
        "rclpy.qos_overriding_options.QoSOverridingOptions": "policy_kinds callback entity_id",
        "rclpy.signals.SignalHandlerOptions": "",
        "rclpy.time.Time": "seconds nanoseconds clock_type",
        "tf2_ros.Buffer": "cache_time node",
        "tf2_ros.TransformException": "",
        "tf2_ros.TransformListener": "buffer node spin_thread qos static_qos",
    }.items()
}
#: The same for methods of a node, of its clock and of a buffer of transforms.
METHODS: dict[str, frozenset[str]] = {
    name: frozenset(keywords.split())
    for name, keywords in {
        "create_client": "qos_profile callback_group",
        "create_jump_callback": "pre_callback post_callback",
        "create_lifecycle_publisher": "callback_group event_callbacks qos_overriding_options",
        "create_publisher": "callback_group event_callbacks qos_overriding_options",
        "create_service": "qos_profile callback_group",
        "create_subscription": "callback_group event_callbacks qos_overriding_options raw",
        "create_timer": "callback_group clock",
        "declare_parameter": "value descriptor ignore_override",
        "lookup_transform": "timeout",
    }.items()
}
#: Modules that Humble has under another name.
HUMBLE_MODULES = {"rclpy.event_handler": "rclpy.qos_event"}
