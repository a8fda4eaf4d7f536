"""A managed node of ROS 2: its states, parameters, bond and autostart, whatever it does."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from vl2_ros.errors import VL2Error
from vl2_ros.node.guarded import ends_process, guarded
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.ros_node.bond import Bond, open_bond
from vl2_ros.ros_node.parameters import check_change, declare_parameters

_CHANGE_FAILED = SetParametersResult(
    successful=False, reason="the change failed, see the log of the node"
)

_log = logging.getLogger(__name__)


class ManagedNode(LifecycleNode):  # type: ignore[misc]
    """Goes through the states of a managed node.

    * configure reads the parameters, loads what the node needs and opens the outgoing topics.
    * activate subscribes, begins to work and offers a bond.
    * deactivate ends the bond and the work, and unsubscribes.
    * cleanup closes the topics and frees what was loaded.
    * error goes back to unconfigured, or, when a thread hangs, on to finalized and `on_failure`.

    Args:
        tables: of its parameters; `autostart` and `bond_heartbeat_period` are among them.
        node_name: unless a remapping of `__node` says otherwise.
        on_failure: called with the reason when the node cannot work any more; the process should
            end then, with a code that is not 0.
        options: of rclpy's node, such as `context` and `parameter_overrides`.
    """

    def __init__(
        self,
        tables: tuple[type, ...],
        node_name: str,
        on_failure: Callable[[str], None],
        **options: Any,
    ) -> None:
        """Declare the parameters; autostart begins when the node is spun."""
        super().__init__(node_name, **options)
        self._tables = tables
        self._on_failure = on_failure
        self._bond: Bond | None = None
        self._is_ending = False
        self._quiet_log = RepeatedLog(_log)
        self._loaded = threading.Event()
        self._loaded.set()
        for table in tables:
            declare_parameters(self, table)
        change = guarded(self._change_parameters, "changing parameters", self._quiet_log)
        self.add_on_set_parameters_callback(lambda changes: change(changes) or _CHANGE_FAILED)
        self._guard_services()
        # Apart from the default group, so that parameters and states can be asked for meanwhile;
        # and not on simulated time, which may never begin.
        self._start_timer = self.create_timer(
            0.0,
            guarded(self._autostart, "the autostart", self._quiet_log),
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    @abstractmethod
    def configure_parts(self) -> str:
        """Load what the node needs and open the outgoing topics; return what is configured.

        Raises:
            VL2Error: if it cannot be configured.
        """

    @abstractmethod
    def start_parts(self) -> str:
        """Subscribe and begin to work; return what the node does now.

        Raises:
            VL2Error: if it cannot be activated.
        """

    @abstractmethod
    def stop_parts(self) -> bool:
        """End the work and unsubscribe; return False when a thread hangs. Twice is harmless."""

    @abstractmethod
    def release_parts(self) -> None:
        """Close the topics and free what was loaded, after `stop_parts`. Twice is harmless."""

    @property
    @abstractmethod
    def is_configured(self) -> bool:
        """Return whether the parts are there."""

    def apply_changes(self, changed: Any) -> None:
        """Use a changed table of parameters from now on; only where some of them are live."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and open the outgoing topics; a wrong parameter is a failure."""
        try:
            configured = self.configure_parts()
            self._open_bond()
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
        _log.info("configured: %s", configured)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, begin to work and offer a bond."""
        result = super().on_activate(state)
        if not self.is_configured or result != TransitionCallbackReturn.SUCCESS:
            return TransitionCallbackReturn.ERROR
        try:
            active = self.start_parts()
        except VL2Error as error:
            _log.error("cannot be activated: %s", error)
            return TransitionCallbackReturn.ERROR
        _log.info("active; %s", active)
        period_s = self.get_parameter("bond_heartbeat_period").value
        if self._bond is not None and period_s > 0:
            self._bond.begin(period_s)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the work and stop listening.

        An error when a thread hangs: it could not begin again.
        """
        is_ended = self._stop()
        # Last: a publisher that is not active sends nothing.
        result = super().on_deactivate(state)
        if not is_ended:
            return TransitionCallbackReturn.ERROR
        _log.info("inactive; all work has ended and the topics are released")
        return result

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the topics and free what was loaded."""
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

        When a thread still hangs the node is finalized and only a new process can continue.
        """
        hanging = self._release()
        if not hanging:
            return super().on_error(state)
        self._on_failure(hanging)
        return TransitionCallbackReturn.FAILURE

    @property
    def is_loading(self) -> bool:
        """Return whether something is being loaded, which cannot be stopped."""
        return not self._loaded.is_set()

    def end(self, timeout_s: float) -> str:
        """End all work and free everything, in whichever state the node is.

        Args:
            timeout_s: to wait for what is being loaded; see `is_loading`.

        Returns:
            What hangs, so that only the end of the process ends it; empty when nothing does.
        """
        self._is_ending = True
        _log.info("ending; what runs is brought to its end")
        hanging = self._release()
        self._loaded.wait(timeout_s)
        return hanging

    def load_unless_ending(self, load: Callable[[], Any]) -> Any:
        """Load something while `is_loading` says so."""
        self._loaded.clear()
        try:
            return load()
        finally:
            self._loaded.set()

    def _open_bond(self) -> None:
        if self._bond is None and self.get_parameter("bond_heartbeat_period").value > 0:
            self._bond = open_bond(self, self._quiet_log)

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

    def _stop(self) -> bool:
        """End the bond and all work; False when a thread hangs."""
        if self._bond is not None:
            self._bond.end()
        return self.stop_parts()

    def _release(self) -> str:
        """Free everything; returns what hangs, empty when nothing does."""
        hanging = "" if self._stop() else "the worker hangs; the process ends without it"
        self.release_parts()
        return hanging

    def _change_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        verdict, changed = check_change(self, changes, self._tables, self.is_configured)
        for values in changed:
            self.apply_changes(values)
        return verdict

    def _autostart(self) -> None:
        self._start_timer.cancel()
        if not self.get_parameter("autostart").value:
            _log.info("waiting to be configured, as autostart is false")
        elif self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()
