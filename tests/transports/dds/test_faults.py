"""Failures inside of DDS: they are reported, and everything else continues."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.node.wire import Inbox, wait_until
from vl2_ros.errors import TransportError
from vl2_ros.node.transport import Qos

pytest.importorskip("cyclonedds")

from vl2_ros.transports.dds.endpoints import Endpoints
from vl2_ros.transports.dds.graph import GraphReaders, KnownPublishers
from vl2_ros.transports.dds.transport import DdsTransport

REPOSITORY = Path(__file__).resolve().parents[3]
STRING = "std_msgs/msg/String"


@pytest.fixture
def open_node(dds_domain):
    opened = []

    def open_one(name: str = "vl2") -> DdsTransport:
        opened.append(DdsTransport(name))
        return opened[-1]

    yield open_one
    for transport in opened:
        transport.close()


def say(publisher, node: DdsTransport, text: str) -> None:
    wait_until(lambda: publisher.count_subscribers() > 0, "a subscription matches")
    publisher.publish(node.types.make(STRING, data=text))


def test_reading_continues_after_rounds_that_failed(open_node, monkeypatch, caplog):
    node, sender = open_node(), open_node("sender")
    inbox = Inbox(node, "x", STRING, Qos())
    publisher = sender.advertise("x", STRING, Qos())
    failures = [OSError("one"), MemoryError("two")]
    take = Endpoints._take

    def fail_twice(endpoints, reader) -> None:
        if endpoints is node._endpoints and failures:
            raise failures.pop()
        take(endpoints, reader)

    monkeypatch.setattr(Endpoints, "_take", fail_twice)
    say(publisher, sender, "hello")
    inbox.wait()
    assert not failures and node.failure == ""
    assert sum("reads DDS topics failed" in one.getMessage() for one in caplog.records) == 1


def test_thread_that_cannot_continue_logs_it_and_its_node_refuses(open_node, monkeypatch, caplog):
    node, sender = open_node(), open_node("sender")
    own = node.advertise("y", STRING, Qos())
    Inbox(node, "x", STRING, Qos())
    publisher = sender.advertise("x", STRING, Qos())
    take = Endpoints._take

    def fail(endpoints, reader) -> None:
        if endpoints is node._endpoints:
            raise OSError("the socket is gone")
        take(endpoints, reader)

    monkeypatch.setattr(Endpoints, "_take", fail)
    say(publisher, sender, "hello")
    wait_until(lambda: node.failure != "", "the node has given up")
    assert "cannot be read any more" in node.failure and "the socket is gone" in node.failure
    (critical,) = [one for one in caplog.records if one.levelno == logging.CRITICAL]
    assert "the socket is gone" in critical.getMessage()
    wait_until(lambda: publisher.count_subscribers() == 0, "others see that it has left")
    with pytest.raises(TransportError, match="the socket is gone"):
        node.subscribe("z", STRING, Qos(), lambda message: None)
    with pytest.raises(TransportError):
        own.publish(node.types.make(STRING, data="late"))
    node.close()
    assert sender.failure == ""


@pytest.mark.parametrize("kind", [KnownPublishers, GraphReaders])
def test_unreadable_discovery_data_does_not_end_reading(open_node, monkeypatch, caplog, kind):
    node, sender = open_node(), open_node("sender")
    inbox = Inbox(node, "x", STRING, Qos())

    def fail(self) -> None:
        raise ValueError("no such policy")

    monkeypatch.setattr(kind, "_take", fail)
    publisher = sender.advertise("x", STRING, Qos())
    say(publisher, sender, "hello")
    inbox.wait()
    # The thread that fails first is the one that logs, maybe later than this one fails.
    failed = f"{kind.purpose} failed"

    def is_reported() -> bool:
        # A round of each thread, in case that nothing else wakes it.
        for one in (node, sender):
            one._endpoints._look()
        return caplog.text.count(failed) == 2

    wait_until(is_reported, "both nodes report it")
    for one in (node, sender):
        assert one.failure == "" and one.count_publishers("x") in (0, 1)


def test_full_subscription_that_keeps_all_is_logged_and_does_not_block_the_sender(
    open_node, caplog
):
    node, sender = open_node(), open_node("sender")
    may_go_on, is_inside = threading.Event(), threading.Event()
    heard: list[str] = []

    def listen(message) -> None:
        is_inside.set()
        may_go_on.wait(30.0)
        heard.append(message.data)

    node.subscribe("x", STRING, Qos(depth=2, keep_all=True), listen)
    publisher = sender.advertise("x", STRING, Qos(depth=100))
    say(publisher, sender, "first")
    assert is_inside.wait(30.0)
    for number in range(20):
        say(publisher, sender, str(number))
    may_go_on.set()
    wait_until(lambda: "the queue is full" in caplog.text, "the reader logs it")
    assert sum("a message is lost" in one.getMessage() for one in caplog.records) == 1
    say(publisher, sender, "last")
    wait_until(lambda: heard[-1] == "last", "it receives again")
    assert heard[0] == "first" and len(heard) < 20


def test_type_names_of_other_participants_forge_no_line(open_node, caplog):
    node = open_node()
    Inbox(node, "x", STRING, Qos())
    publishers = node._endpoints._publishers
    for _ in range(3):
        publishers._check("rt/x", "evil\nERROR vl2_ros: forged\x1b[2J" + "x" * 1000)
    (record,) = caplog.records
    assert record.getMessage().isprintable() and r"evil\nERROR" in record.getMessage()
    assert len(record.getMessage()) < 500


JOINER = """
import sys
from vl2_ros.errors import TransportError
from vl2_ros.transports.dds.transport import DdsTransport
try:
    transport = DdsTransport("other")
except TransportError as error:
    sys.stdout.write(str(error) + "\\n")
else:
    sys.stdout.write("joined\\n")
    sys.stdout.flush()
    sys.stdin.readline()
    transport.close()
"""


def test_one_process_too_many_gets_the_true_reason(dds_domain, open_node, monkeypatch):
    limit = "<Discovery><MaxAutoParticipantIndex>2</MaxAutoParticipantIndex></Discovery>"
    monkeypatch.setenv("CYCLONEDDS_URI", f"<CycloneDDS><Domain>{limit}</Domain></CycloneDDS>")
    words: list[str] = []
    processes: list[subprocess.Popen] = []
    try:
        while len(words) < 5 and not (words and words[-1] != "joined"):
            process = subprocess.Popen(
                [sys.executable, "-c", JOINER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=REPOSITORY,
            )
            processes.append(process)
            words.append(process.stdout.readline().strip())
    finally:
        for process in processes:
            process.communicate("\n")
    assert 2 <= words.count("joined") <= 3
    assert f"DDS domain {dds_domain} cannot be joined" in words[-1]
    assert "expected a free participant index" in words[-1] and "--domain" in words[-1]
    # Their indices are free again.
    open_node()


def test_settings_that_are_no_ascii_are_an_error(dds_domain, monkeypatch):
    monkeypatch.setenv("ROS_STATIC_PEERS", "küche")
    with pytest.raises(TransportError, match="plain ASCII .*got 'ü'"):
        DdsTransport()
