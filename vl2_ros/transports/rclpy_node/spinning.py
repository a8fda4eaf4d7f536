"""Threads that spin rclpy nodes, and a plain node with one, for clients, cameras and tests."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import rclpy
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from vl2_ros.transports.ros import RosTransport


def start_spinning(executor: Executor, name: str) -> threading.Thread:
    """Spin an executor on a thread, until the executor or its context is shut down."""
    thread = threading.Thread(target=_spin, args=(executor,), name=name, daemon=True)
    thread.start()
    return thread


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
    thread = start_spinning(executor, f"rclpy {node_name}")

    def close() -> None:
        executor.shutdown()
        if threading.current_thread() is not thread:
            thread.join()
        node.destroy_node()
        context.try_shutdown()

    return RosTransport(node, close)


def _spin(executor: Executor) -> None:
    while True:
        try:
            executor.spin()
        except ExternalShutdownException:
            return
        except InvalidHandle:
            # Jazzy's executor trips over a subscription that is destroyed while it makes up its
            # list of what to wait for; the next list does not have it.
            continue
        return
