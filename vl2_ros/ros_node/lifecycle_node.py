"""The managed node of ROS 2: configure loads the model, activate subscribes, and back."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup

from vl2_ros.errors import ConfigError
from vl2_ros.node.frames.transform_listener import TransformListener
from vl2_ros.node.guarded import guarded
from vl2_ros.node.parameters import NodeParameters, ProcessParameters
from vl2_ros.node.perceiver import Perceiver, close_perceiver
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.service_calls import SERVICES, ServiceCalls
from vl2_ros.ros_node.managed_node import ManagedNode
from vl2_ros.ros_node.parameters import read_parameters
from vl2_ros.ros_node.perceive_action import PerceiveAction
from vl2_ros.ros_node.tf2_frames import Tf2Frames
from vl2_ros.transports.ros.executor import GuardedExecutor
from vl2_ros.transports.ros.message_types import RosMessageTypes, find_class
from vl2_ros.transports.ros.qos import make_server_profile
from vl2_ros.transports.ros.transport import RosTransport

#: Makes the model that the parameters of the process describe.
LoadPerceiver = Callable[[ProcessParameters], Perceiver]

#: Action goals at a time; each keeps one thread of the executor.
MOST_GOALS = 16
#: Threads for everything else: topics, parameters and lifecycle, services, timers.
_OTHER_THREADS = 4

_log = logging.getLogger(__name__)


def make_executor(context: Any = None) -> GuardedExecutor:
    """Make the executor that the node needs; its threads start when there is work for them."""
    return GuardedExecutor(num_threads=MOST_GOALS + _OTHER_THREADS, context=context)


class PerceptionLifecycleNode(ManagedNode):
    """Runs a `PerceptionServer` through the states of a managed node.

    Args:
        load: makes the perceiver.
        version: of this package.
        node_name: unless a remapping of `__node` says otherwise.
        on_failure: called with the reason when nothing can be answered any more; the process
            should end then, with a code that is not 0.
        options: of rclpy's node, such as `context` and `parameter_overrides`.
    """

    def __init__(
        self,
        load: LoadPerceiver,
        version: str,
        node_name: str = "vl2",
        on_failure: Callable[[str], None] = _log.critical,
        **options: Any,
    ) -> None:
        """Declare the parameters; autostart begins when the node is spun."""
        self._load = load
        self._transport: RosTransport | None = None
        self._server: PerceptionServer | None = None
        self._perceiver: Perceiver | None = None
        super().__init__((ProcessParameters, NodeParameters), node_name, on_failure, **options)
        types = RosMessageTypes()
        self._open_services(ServiceCalls(types, self._find_server, version))
        self._action = PerceiveAction(self, types, self._find_server, MOST_GOALS)

    @property
    def is_configured(self) -> bool:
        """Return whether there is a server."""
        return self._server is not None

    def configure_parts(self) -> str:
        """Load the model and open the outgoing topics."""
        process = read_parameters(self, ProcessParameters)
        parameters = read_parameters(self, NodeParameters)
        perceiver = self._perceiver = self.load_unless_ending(partial(self._load, process))
        if self._is_ending:
            raise ConfigError("the process ends")
        self._transport = RosTransport(self)
        self._server = PerceptionServer(
            perceiver,
            self._transport,
            parameters,
            on_failure=self._on_failure,
            open_frames=Tf2Frames(self).open if parameters.target_frame else TransformListener,
        )
        self._server.advertise()
        info = perceiver.info
        return f"model {info.name} {info.identity} on {info.device} by {info.backend}"

    def start_parts(self) -> str:
        """Subscribe to cameras and commands and begin to answer."""
        assert self._server is not None
        self._server.start()
        cameras = self._server.node.parameters.cameras
        return f"subscribed to {', '.join(map(self.resolve_topic_name, cameras))}"

    def stop_parts(self) -> bool:
        """End every command, each with an answer; False when the worker hangs."""
        return self._server is None or self._server.stop()

    def release_parts(self) -> None:
        """Close the topics and free the model."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
        perceiver, self._perceiver = self._perceiver, None
        if perceiver is not None:
            close_perceiver(perceiver)
            del perceiver
        if self._server is not None:
            self._server = None
            # The parts form reference cycles; a model is too large to wait for the collector.
            gc.collect()

    def apply_changes(self, changed: Any) -> None:
        """Let the server work with other parameters."""
        if isinstance(changed, NodeParameters) and self._server is not None:
            self._server.node.change_parameters(changed)

    def _open_services(self, calls: ServiceCalls) -> None:
        group = ReentrantCallbackGroup()
        for name, type_name in SERVICES.items():
            # An exception would end the executor, and a client wait for ever.
            call = guarded(partial(calls.call, type_name), f"the service {name}", self._quiet_log)

            def answer(request: Any, response: Any, call: Any = call) -> Any:
                answered = call(request)
                if answered is not None:
                    return answered
                if hasattr(response, "message"):
                    response.message = "this call failed, see the log of the node"
                return response

            self.create_service(
                find_class(type_name),
                name,
                answer,
                qos_profile=make_server_profile(),
                callback_group=group,
            )

    def _find_server(self) -> PerceptionServer | None:
        return self._server
