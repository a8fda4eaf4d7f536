"""A plain rclpy node with a thread that spins it, for clients, cameras and tests."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from vl2_ros.transports.ros import RosTransport


def open_transport(node_name: str, namespace: str, remap: Mapping[str, str]) -> RosTransport:
    """Open a node in a context of its own, so that several live in one process."""
    context = Context()
    rclpy.init(context=context)
    rules = [word for pair in remap.items() for word in ("-r", ":=".join(pair))]
    node = Node(
        node_name,
        namespace=namespace or None,
        context=context,
        cli_args=["--ros-args", *rules] if rules else None,
        use_global_arguments=False,
        start_parameter_services=False,
        enable_rosout=False,
    )
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor,), name=f"rclpy {node_name}")
    thread.daemon = True

    def close() -> None:
        executor.shutdown()
        if threading.current_thread() is not thread:
            thread.join()
        node.destroy_node()
        context.try_shutdown()

    thread.start()
    return RosTransport(node, close)


def _spin(executor: SingleThreadedExecutor) -> None:
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()
