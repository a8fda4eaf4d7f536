"""The managed hearing node of ROS 2: configure loads the recogniser, activate hears, and back."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from vl2_ros.errors import ConfigError
from vl2_ros.node.hearing.server import Ears, HearingServer
from vl2_ros.node.parameters import HearingParameters
from vl2_ros.ros_node.managed_node import ManagedNode
from vl2_ros.ros_node.parameters import read_parameters
from vl2_ros.transports.ros.transport import RosTransport

#: Loads what hears by the parameters.
LoadEars = Callable[[HearingParameters], Ears]

_log = logging.getLogger(__name__)


class HearingLifecycleNode(ManagedNode):
    """Runs a `HearingServer` through the states of a managed node.

    Args:
        load: loads what hears.
        node_name: unless a remapping of `__node` says otherwise.
        on_failure: called with the reason when nothing is heard any more; the process should end
            then, with a code that is not 0.
        options: of rclpy's node, such as `context` and `parameter_overrides`.
    """

    def __init__(
        self,
        load: LoadEars,
        node_name: str = "vl2_hearing",
        on_failure: Callable[[str], None] = _log.critical,
        **options: Any,
    ) -> None:
        """Declare the parameters; autostart begins when the node is spun."""
        self._load = load
        self._transport: RosTransport | None = None
        self._server: HearingServer | None = None
        super().__init__((HearingParameters,), node_name, on_failure, **options)

    @property
    def is_configured(self) -> bool:
        """Return whether there is a server."""
        return self._server is not None

    def configure_parts(self) -> str:
        """Load the recogniser and open the outgoing topics."""
        parameters = read_parameters(self, HearingParameters)
        ears = self.load_unless_ending(partial(self._load, parameters))
        if self._is_ending:
            raise ConfigError("the process ends")
        self._transport = RosTransport(self)
        self._server = HearingServer(ears, self._transport, parameters, self._on_failure)
        self._server.advertise()
        return f"what is heard goes to {self._transport.resolve(self._server.heard_topic)}"

    def start_parts(self) -> str:
        """Subscribe to audio and begin to hear."""
        assert self._server is not None
        self._server.start()
        return f"hears {self.resolve_topic_name(self._server.parameters.audio_topic)}"

    def stop_parts(self) -> bool:
        """Stop hearing; False when the recogniser hangs."""
        return self._server is None or self._server.stop()

    def release_parts(self) -> None:
        """Close the topics and free the recogniser."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
        if self._server is not None:
            self._server = None
            gc.collect()
