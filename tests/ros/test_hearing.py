"""The hearing node on ROS 2: its states, and audio -> what was heard -> result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.node.hearing.scripted_ears import make_audio, make_ears, make_pause, make_voice
from tests.node.wire import Inbox, wait_until
from tests.ros.running_node import PATIENCE_S, RosClient, wait_for
from tests.ros.workspace import find_messages
from vl2_ros.errors import SpeechError
from vl2_ros.node.hearing.audio_messages import AUDIO_TYPE
from vl2_ros.node.hearing.heard_messages import HEARD_TYPE
from vl2_ros.node.parameters import HearingParameters
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos

pytestmark = pytest.mark.ros


class RunningEars:
    """A HearingLifecycleNode and its executor; `failure` is raised by the next load when set."""

    def __init__(self) -> None:
        self.loaded: list[HearingParameters] = []
        self.failure: Exception | None = None
        self._thread: Any = None

    def start(self, **parameters: Any) -> None:
        import rclpy
        from rclpy.context import Context
        from rclpy.parameter import Parameter

        from vl2_ros.ros_node.hearing_node import HearingLifecycleNode
        from vl2_ros.ros_node.lifecycle_node import make_executor
        from vl2_ros.transports.ros.spinning import start_spinning

        self._context = Context()
        rclpy.init(context=self._context)
        values = {"autostart": False} | parameters
        self.node = HearingLifecycleNode(
            self._load,
            context=self._context,
            parameter_overrides=[Parameter(name, value=one) for name, one in values.items()],
        )
        self._executor = make_executor(self._context)
        self._executor.add_node(self.node)
        self._thread = start_spinning(self._executor, "hearing node under test")

    def wait_for_hearers(self, topic: str, count: int) -> None:
        """Wait until so many subscriptions get what is heard."""
        (says,) = [one for one in self.node.publishers if one.topic_name == topic]
        wait_until(lambda: says.get_subscription_count() == count, f"{count} hear {topic}")

    def close(self) -> None:
        if self._thread is None:
            return
        assert self.node.end(PATIENCE_S) == ""
        assert self._thread.end(PATIENCE_S)
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def _load(self, parameters: HearingParameters) -> Any:
        self.loaded.append(parameters)
        if self.failure is not None:
            raise self.failure
        return make_ears("find the red mug", "find the bowl")


@pytest.fixture
def ears(dds_domain) -> Iterator[RunningEars]:
    find_messages()
    ears = RunningEars()
    yield ears
    ears.close()


def change_state(client: RosClient, label: str) -> bool:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    calls = client.node.create_client(ChangeState, "/vl2_hearing/change_state")
    assert calls.wait_for_service(PATIENCE_S)
    transition = Transition(id=getattr(Transition, f"TRANSITION_{label.upper()}"))
    response = wait_for(calls.call_async(ChangeState.Request(transition=transition)), label)
    client.node.destroy_client(calls)
    return response.success


def speak(client: RosClient, audio: Any) -> None:
    for samples in (make_pause(0.3), make_voice(0.8), make_pause(0.8)):
        samples = (samples * 32_767).astype(np.int16)
        audio.publish(make_audio(client.transport.types, samples))


def test_what_is_said_is_answered_by_the_node_that_sees(running, ears, client):
    running.start()
    client.activate()
    ears.start()
    assert change_state(client, "configure") and change_state(client, "activate")
    heard = Inbox(client.transport, "/vl2/heard", HEARD_TYPE, Qos(depth=10))
    results = client.listen()
    audio = client.transport.advertise("/audio", AUDIO_TYPE, Qos(depth=100))
    wait_until(lambda: audio.count_subscribers() > 0, "it hears /audio")
    ears.wait_for_hearers("/vl2/heard", 2)
    wait_until(lambda: client.transport.count_publishers("/vl2/result") > 0, "results are there")
    client.show_image()
    speak(client, audio)
    (said,) = heard.wait()
    assert (said.text, said.accepted) == ("find the red mug", True)
    (result,) = results.wait_for(said.command_id)
    assert (result.status, result.command_text) == (Status.OK, "find the red mug")


def test_states_open_and_close_the_ears(ears, client):
    ears.start()
    audio = client.transport.advertise("/audio", AUDIO_TYPE, Qos(depth=100))
    assert change_state(client, "configure")
    assert len(ears.loaded) == 1 and audio.count_subscribers() == 0
    assert change_state(client, "activate")
    wait_until(lambda: audio.count_subscribers() == 1, "it hears")
    assert change_state(client, "deactivate")
    wait_until(lambda: audio.count_subscribers() == 0, "it does not hear")
    assert change_state(client, "activate")
    wait_until(lambda: audio.count_subscribers() == 1, "it hears again")
    assert change_state(client, "deactivate") and change_state(client, "cleanup")
    assert change_state(client, "configure")
    assert len(ears.loaded) == 2


def test_missing_weights_are_a_failure_to_configure_that_can_be_tried_again(ears, client):
    ears.failure = SpeechError("there are no weights of speech")
    ears.start()
    assert not change_state(client, "configure")
    ears.failure = None
    assert change_state(client, "configure")


def test_it_starts_by_itself_and_hears_for_the_node_it_is_named(ears, client):
    ears.start(autostart=True, node="eyes", audio_topic="mic")
    audio = client.transport.advertise("/mic", AUDIO_TYPE, Qos(depth=100))
    wait_until(lambda: audio.count_subscribers() == 1, "it hears")
    heard = Inbox(client.transport, "/eyes/heard", HEARD_TYPE, Qos(depth=10))
    ears.wait_for_hearers("/eyes/heard", 1)
    speak(client, audio)
    assert heard.wait()[0].text == "find the red mug"


def test_parameters_are_those_of_the_table_and_stay_while_it_is_configured(ears, client):
    ears.start(min_score=0.3)
    assert change_state(client, "configure")
    assert ears.loaded == [HearingParameters(min_score=0.3, autostart=False)]
    from rclpy.parameter import Parameter

    (result,) = ears.node.set_parameters([Parameter("min_score", value=0.6)])
    assert not result.successful and "does not change while the node is configured" in result.reason
