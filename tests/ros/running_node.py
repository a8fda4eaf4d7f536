"""A lifecycle node in this process and a client that asks it, each spun on threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.wire import Inbox, make_image, wait_until
from vl2_ros.node.messages.result_messages import RESULT
from vl2_ros.node.parameters import ProcessParameters
from vl2_ros.node.transport import Qos

#: As in tests.node.wire: no test is right only when something is fast.
PATIENCE_S = 30.0


class RunningNode:
    """A PerceptionLifecycleNode and its executor.

    Attributes:
        perceiver: answers; created anew by each configure.
        loaded: what each load was asked for.
        failure: raised by the next load when set.
        failures: why the process should have ended.
    """

    def __init__(self) -> None:
        self.perceiver = ScriptedPerceiver()
        self.loaded: list[ProcessParameters] = []
        self.failure: Exception | None = None
        self.failures: list[str] = []
        self._thread: threading.Thread | None = None

    def start(self, *arguments: str, **parameters: Any) -> None:
        """Make and spin the node; `autostart` is false unless it is said."""
        import rclpy
        from rclpy.context import Context
        from rclpy.parameter import Parameter

        from vl2_ros.ros_node.lifecycle_node import (
            PerceptionLifecycleNode,
            make_executor,
        )
        from vl2_ros.transports.ros.spinning import start_spinning

        self._context = Context()
        rclpy.init(context=self._context)
        values = {"autostart": False, "max_frame_age_s": 0.0, "command_deadline_s": 60.0}
        self.node = PerceptionLifecycleNode(
            self._load,
            "1.2.3",
            on_failure=self.failures.append,
            context=self._context,
            cli_args=["--ros-args", *arguments] if arguments else None,
            parameter_overrides=[
                Parameter(name, value=value) for name, value in (values | parameters).items()
            ],
        )
        self._executor = make_executor(self._context)
        self._executor.add_node(self.node)
        self._thread = start_spinning(self._executor, "node under test")

    def close(self) -> None:
        self.perceiver.may_answer.set()
        if self._thread is None:
            return
        self.node.end(PATIENCE_S)
        assert self._thread.end(PATIENCE_S)
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def _load(self, process: ProcessParameters) -> ScriptedPerceiver:
        self.loaded.append(process)
        if self.failure is not None:
            raise self.failure
        return self.perceiver


class RosClient:
    """Asks a node named /vl2 by services, actions and topics."""

    def __init__(self) -> None:
        from vl2_ros.transports.ros.transport import open_ros_transport

        self.transport = open_ros_transport("client")
        self.node = self.transport._node
        self.make = self.transport.types.make
        self._commands: Any = None

    def call(self, name: str, service: Any, **fields: Any) -> Any:
        """Call a service and wait for the response."""
        calls = self.node.create_client(service, f"/vl2/{name}")
        assert calls.wait_for_service(PATIENCE_S), f"no service {name}"
        response = wait_for(calls.call_async(service.Request(**fields)), name)
        self.node.destroy_client(calls)
        return response

    def change_state(self, label: str) -> bool:
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        ids = {
            "configure": Transition.TRANSITION_CONFIGURE,
            "activate": Transition.TRANSITION_ACTIVATE,
            "deactivate": Transition.TRANSITION_DEACTIVATE,
            "cleanup": Transition.TRANSITION_CLEANUP,
            "shutdown": Transition.TRANSITION_ACTIVE_SHUTDOWN,
        }
        transition = Transition(id=ids[label])
        return self.call("change_state", ChangeState, transition=transition).success

    def get_state(self) -> str:
        from lifecycle_msgs.srv import GetState

        return self.call("get_state", GetState).current_state.label

    def activate(self) -> None:
        assert self.change_state("configure")
        assert self.change_state("activate")

    def set_parameter(self, name: str, value: Any) -> Any:
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        change = Parameter(name, value=value).to_parameter_msg()
        (result,) = self.call("set_parameters", SetParameters, parameters=[change]).results
        return result

    def get_parameter(self, name: str) -> Any:
        from rcl_interfaces.srv import GetParameters
        from rclpy.parameter import parameter_value_to_python

        (value,) = self.call("get_parameters", GetParameters, names=[name]).values
        return parameter_value_to_python(value)

    def ask(self, inbox: Inbox, command_id: str, **fields: Any) -> Any:
        """Ask by topic, once the way there and back is open, and return the first result."""
        self.command(command_id, **fields)
        return inbox.wait_for(command_id)[0]

    def command(self, command_id: str, **fields: Any) -> None:
        """Publish a command once the way there and back is open."""
        if self._commands is None:
            self._commands = self.transport.advertise(
                "/vl2/vision_command", "vl2_ros/msg/VisionCommand", Qos()
            )
        wait_until(lambda: self._commands.count_subscribers() > 0, "the node is subscribed")
        wait_until(lambda: self.transport.count_publishers("/vl2/result") > 0, "results are there")
        fields = {"text": "find it"} | fields
        self._commands.publish(self.make("vl2_ros/msg/VisionCommand", id=command_id, **fields))

    def listen(self) -> Inbox:
        """Receive every result of the node."""
        return Inbox(self.transport, "/vl2/result", RESULT.type_name, Qos(depth=100))

    def show_image(self, stamp_ns: int = 1_000_000) -> Callable[[], None]:
        """Publish an image to /image once the node listens; returns what publishes it again."""
        publisher = self.transport.advertise("/image", "sensor_msgs/msg/Image", Qos(depth=1))
        wait_until(lambda: publisher.count_subscribers() > 0, "the node subscribes to /image")

        def show() -> None:
            publisher.publish(make_image(self.transport.types, stamp_ns))

        show()
        return show

    def close(self) -> None:
        self.transport.close()


def wait_for(future: Any, what: str) -> Any:
    """Wait for a future that another thread spins, and return its result."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    assert done.wait(PATIENCE_S), f"no answer to {what}"
    return future.result()
