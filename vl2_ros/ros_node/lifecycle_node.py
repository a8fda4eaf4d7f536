"""The managed node of ROS 2: configure loads the model, activate subscribes, and back."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from vl2_ros.errors import ConfigError, VL2Error
from vl2_ros.node.frames.transform_listener import TransformListener
from vl2_ros.node.guarded import ends_process, guarded
from vl2_ros.node.parameters import NodeParameters, ProcessParameters
from vl2_ros.node.perceiver import Perceiver, close_perceiver
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.service_calls import SERVICES, ServiceCalls
from vl2_ros.ros_node.bond import Bond, open_bond
from vl2_ros.ros_node.parameters import (
    check_change,
    declare_parameters,
    read_parameters,
)
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
_HANGING = "the worker hangs; the process ends without it"
_CHANGE_FAILED = SetParametersResult(
    successful=False, reason="the change failed, see the log of the node"
)

_log = logging.getLogger(__name__)


def make_executor(context: Any = None) -> GuardedExecutor:
    """Make the executor that the node needs; its threads start when there is work for them."""
    return GuardedExecutor(num_threads=MOST_GOALS + _OTHER_THREADS, context=context)


class PerceptionLifecycleNode(LifecycleNode):  # type: ignore[misc]
    """Runs a `PerceptionServer` through the states of a managed node.

    * configure reads the parameters, loads the model and opens the outgoing topics.
    * activate subscribes to cameras and commands, begins to answer and offers a bond.
    * deactivate ends the bond and every command, each with an answer, and unsubscribes.
    * cleanup closes the topics and frees the model.
    * error goes back to unconfigured, or, when the worker hangs, on to finalized and `on_failure`.

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
        super().__init__(node_name, **options)
        self._load = load
        self._on_failure = on_failure
        self._bond: Bond | None = None
        self._transport: RosTransport | None = None
        self._server: PerceptionServer | None = None
        self._perceiver: Perceiver | None = None
        self._is_ending = False
        self._quiet_log = RepeatedLog(_log)
        self._loaded = threading.Event()
        self._loaded.set()
        declare_parameters(self, ProcessParameters)
        declare_parameters(self, NodeParameters)
        change = guarded(self._change_parameters, "changing parameters", self._quiet_log)
        self.add_on_set_parameters_callback(lambda changes: change(changes) or _CHANGE_FAILED)
        self._guard_services()
        types = RosMessageTypes()
        self._open_services(ServiceCalls(types, self._find_server, version))
        self._action = PerceiveAction(self, types, self._find_server, MOST_GOALS)
        # Apart from the default group, so that parameters and states can be asked for meanwhile;
        # and not on simulated time, which may never begin.
        self._start_timer = self.create_timer(
            0.0,
            guarded(self._autostart, "the autostart", self._quiet_log),
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and open the outgoing topics; a wrong parameter is a failure."""
        try:
            self._configure()
        except VL2Error as error:
            _log.error("cannot be configured: %s", error)
            self._release()
            return TransitionCallbackReturn.FAILURE
        except BaseException as error:
            # rclpy would swallow it, or stay between two states for ever; lifecycle tools see the
            # error state, people the traceback.
            if ends_process(error):
                raise
            _log.exception("configuring failed unexpectedly")
            self._release()
            return TransitionCallbackReturn.ERROR
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, begin to answer and offer a bond."""
        result = super().on_activate(state)
        if self._server is None or result != TransitionCallbackReturn.SUCCESS:
            return TransitionCallbackReturn.ERROR
        try:
            self._server.start()
        except VL2Error as error:
            _log.error("cannot be activated: %s", error)
            return TransitionCallbackReturn.ERROR
        cameras = self._server.node.parameters.cameras
        _log.info("active; subscribed to %s", ", ".join(map(self.resolve_topic_name, cameras)))
        self._begin_bond()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End every command, each with an answer, and stop listening.

        An error when the worker hangs: it could not begin again.
        """
        is_ended = self._stop()
        # Last: a publisher that is not active sends nothing.
        result = super().on_deactivate(state)
        if not is_ended:
            return TransitionCallbackReturn.ERROR
        _log.info("inactive; every command has its answer and the cameras are released")
        return result

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the topics and free the model."""
        self._release()
        _log.info("unconfigured; the model is freed")
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End everything, from whichever state."""
        self._release()
        _log.info("finalized; only a new process can begin again")
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured, from where the node can be configured again.

        When the worker still hangs the node is finalized and only a new process can continue.
        """
        hanging = self._release()
        if not hanging:
            return super().on_error(state)
        self._on_failure(hanging)
        return TransitionCallbackReturn.FAILURE

    @property
    def is_loading(self) -> bool:
        """Return whether a model is being loaded, which cannot be stopped."""
        return not self._loaded.is_set()

    def end(self, timeout_s: float) -> str:
        """End every command and free everything, in whichever state the node is.

        Args:
            timeout_s: to wait for a model that is being loaded; see `is_loading`.

        Returns:
            What hangs, so that only the end of the process ends it; empty when nothing does.
        """
        self._is_ending = True
        _log.info("ending; every command gets its answer")
        hanging = self._release()
        self._loaded.wait(timeout_s)
        return hanging

    def _configure(self) -> None:
        process = read_parameters(self, ProcessParameters)
        parameters = read_parameters(self, NodeParameters)
        self._loaded.clear()
        try:
            perceiver = self._perceiver = self._load(process)
        finally:
            self._loaded.set()
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
        if self._bond is None and process.bond_heartbeat_period > 0:
            self._bond = open_bond(self, self._quiet_log)
        info = perceiver.info
        _log.info(
            "configured: model %s %s on %s by %s",
            info.name,
            info.identity,
            info.device,
            info.backend,
        )

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

    def _guard_services(self) -> None:
        """Let rclpy's own services answer requests that it would answer by an exception.

        Such as a change of state that cannot be made, or a parameter of a kind that is none.
        """
        for service in self.services:
            call = guarded(service.callback, f"the service {service.srv_name}", self._quiet_log)

            def answer(request: Any, response: Any, call: Any = call) -> Any:
                answered = call(request, response)
                if answered is None and isinstance(request, SetParameters.Request):
                    response.results = [_CHANGE_FAILED] * len(request.parameters)
                return answered or response

            service.callback = answer

    def _begin_bond(self) -> None:
        period_s = self.get_parameter("bond_heartbeat_period").value
        if self._bond is not None and period_s > 0:
            self._bond.begin(period_s)

    def _stop(self) -> bool:
        """End the bond and every command; False when the worker hangs."""
        if self._bond is not None:
            self._bond.end()
        return self._server is None or self._server.stop()

    def _release(self) -> str:
        """Free everything; returns what hangs, empty when nothing does."""
        hanging = "" if self._stop() else _HANGING
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
        return hanging

    def _change_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        running = self._server.node.parameters if self._server is not None else None
        verdict, changed = check_change(self, changes, running)
        if changed is not None and self._server is not None:
            self._server.node.change_parameters(changed)
        return verdict

    def _autostart(self) -> None:
        self._start_timer.cancel()
        if not self.get_parameter("autostart").value:
            _log.info("waiting to be configured, as autostart is false")
        elif self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()
