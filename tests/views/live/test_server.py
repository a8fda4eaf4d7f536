from __future__ import annotations

import json
import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.node.wire import wait_until
from tests.views.live.page_socket import (
    knock,
    knock_at_stream,
    open_stream,
    receive_document,
    receive_frame,
)
from vl2_ros.errors import ConfigError, TransportError
from vl2_ros.views.live import server as served
from vl2_ros.views.live.audience import MOST_PAGES, Audience
from vl2_ros.views.live.frames import pack_frame
from vl2_ros.views.live.page_commands import MAX_MESSAGE_BYTES, PageMode
from vl2_ros.views.live.server import LiveServer

PAGE = Path(served.__file__).with_name("page")


class Desk:
    """A server whose commands are kept; "refuse" is refused."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.audience, self.commands = Audience(), []
        self.server = LiveServer(self.audience, self._take, host=host)
        self.port = self.server.port
        self.host = f"127.0.0.1:{self.port}"

    def _take(self, command) -> None:
        if command.text == "refuse":
            raise TransportError("the node takes nothing")
        self.commands.append(command)

    def show(self, number: int) -> None:
        self.audience.show_frame(pack_frame(b"jpeg", {"number": number}))


@pytest.fixture
def desk():
    desk = Desk()
    yield desk
    desk.server.close()


def test_page_is_served_with_a_strict_policy(desk):
    for path in ("/", "/view.js", "/view.css"):
        response = knock(desk.port, path, Host=desk.host)
        assert response.status == 200
        policy = response.getheader("Content-Security-Policy")
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert response.getheader("Referrer-Policy") == "no-referrer"
    assert knock(desk.port, "/../server.py", Host=desk.host).status == 404


def test_page_names_nothing_outside_and_inserts_text_only():
    for path in PAGE.iterdir():
        text = path.read_text()
        outside = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not outside, f"{path.name} names {outside}"
        for markup in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert markup not in text
    html = (PAGE / "index.html").read_text()
    assert not re.search(r"\son\w+=|<style|style=", html), "the policy forbids it"


def test_other_hosts_and_origins_are_refused(desk):
    own = f"http://{desk.host}"
    assert knock_at_stream(desk.port, host=desk.host, origin=own) == 101
    assert knock_at_stream(desk.port, host=desk.host, origin=None) == 403
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{desk.port + 1}"):
        assert knock_at_stream(desk.port, host=desk.host, origin=origin) == 403
        assert knock(desk.port, "/", Host=desk.host, Origin=origin).status == 403
    rebound = f"evil.example:{desk.port}"
    assert knock_at_stream(desk.port, host=rebound, origin=f"http://{rebound}") == 403
    assert knock(desk.port, "/", Host=rebound).status == 403
    assert knock(desk.port, "/").status in (400, 403)


def test_beyond_this_machine_a_token_is_needed():
    desk = Desk("0.0.0.0")
    try:
        token = desk.server.url.partition("#")[2]
        assert len(token) >= 20 and socket.gethostname() in desk.server.url
        own = f"http://{desk.host}"
        assert knock_at_stream(desk.port, host=desk.host, origin=own) == 403
        assert knock_at_stream(desk.port, host=desk.host, origin=own, token=token[1:]) == 403
        assert knock_at_stream(desk.port, host=desk.host, origin=own, token=token) == 101
        with pytest.raises(InvalidStatus, match="403"), open_stream(desk.port):
            pass
        with open_stream(desk.port, token=token):
            pass
    finally:
        desk.server.close()


def test_commands_come_through_and_errors_go_back(desk):
    with open_stream(desk.port) as stream:
        for message in ("{", '{"type": "ask", "text": "refuse"}'):
            stream.send(message)
            assert receive_document(stream, "error")["message"]
        stream.send(b"\x00")
        assert "not JSON" in receive_document(stream, "error")["message"]
        stream.send(json.dumps({"type": "watch", "text": "find it"}))
        wait_until(lambda: desk.commands, "the command has come")
    assert (desk.commands[0].mode, desk.commands[0].text) == (PageMode.WATCH, "find it")


def test_messages_have_a_bound(desk):
    with open_stream(desk.port) as stream:
        stream.send("x" * (MAX_MESSAGE_BYTES + 1))
        with pytest.raises(ConnectionClosed):
            stream.recv(timeout=10)
    assert not desk.commands


def test_a_page_that_shows_nothing_gets_two_frames_and_then_the_newest(desk):
    with open_stream(desk.port) as slow, open_stream(desk.port) as fast:
        desk.audience.show_document("a", {"type": "answer"})
        for page in (slow, fast):
            receive_document(page, "answer")
        numbers = []
        for number in range(10):
            wait_until(lambda: desk.audience.wants_frame, "the fast page wants a frame")
            desk.show(number)
            numbers.append(receive_frame(fast)[0]["number"])
        assert numbers == list(range(10))
        # The slow one has not said that it has shown any.
        assert [receive_header(slow) for _ in range(2)] == [0, 1]
        with pytest.raises(TimeoutError):
            slow.recv(timeout=0.2)
        slow.send(json.dumps({"type": "shown"}))
        assert receive_header(slow) == 9


def receive_header(stream) -> int:
    packed = stream.recv(timeout=10)
    return json.loads(packed[4 : 4 + int.from_bytes(packed[:4], "big")])["number"]


def test_nobody_wants_a_frame_without_a_page(desk):
    assert not desk.audience.wants_frame
    with open_stream(desk.port):
        wait_until(lambda: desk.audience.wants_frame, "a page is open")
    wait_until(lambda: not desk.audience.wants_frame, "the page has gone")


def test_a_later_page_gets_the_last_documents(desk):
    for number in range(100):
        desk.audience.show_document(f"key {number % 40}", {"type": "answer", "number": number})
    with open_stream(desk.port) as stream:
        numbers = [receive_document(stream, "answer")["number"] for _ in range(21)]
    assert numbers == list(range(79, 100))


def test_pages_have_a_bound(desk):
    with ExitStack() as pages:
        for _ in range(MOST_PAGES):
            pages.enter_context(open_stream(desk.port))
        further = pages.enter_context(open_stream(desk.port))
        with pytest.raises(ConnectionClosed, match="close one"):
            further.recv(timeout=10)


def test_a_port_in_use_is_an_error(desk):
    with pytest.raises(ConfigError, match="choose another --port"):
        LiveServer(Audience(), print, port=desk.port)
    with pytest.raises(ConfigError, match="choose another --port"):
        LiveServer(Audience(), print, host="no.such.host.invalid")


def test_close_ends_the_streams():
    desk = Desk()
    with open_stream(desk.port) as stream:
        desk.server.close()
        with pytest.raises(ConnectionClosed):
            while True:
                stream.recv(timeout=10)
    desk.show(1)
    desk.server.close()
