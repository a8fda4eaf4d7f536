from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from contextlib import closing, contextmanager

import pytest

from tests.console.command_line import run, run_beside
from tests.console.node_process import LiveNode
from tests.node.wire import PATIENCE_S
from tests.views.live.page_socket import open_stream, receive_document, receive_frame

URL = r"http://127\.0\.0\.1:(\d+)/ "


@contextmanager
def serving(*arguments: object, also: str = ""):
    """Run a command beside the test that prints the URL of a page; yields process and port.

    Args:
        arguments: of the command line.
        also: what else it prints, in either order.
    """
    process = run_beside(*arguments)
    try:
        printed = ""
        while not (re.search(URL, printed) and also in printed):
            line = process.stdout.readline()
            assert line, f"it printed {printed!r}, then {process.stderr.read()!r}"
            printed += line
        yield process, int(re.search(URL, printed)[1])
    finally:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C and expect a quiet end."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0 and "Traceback" not in errors, errors


def is_served(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_view_shows_a_node_over_dds(dds_domain, bag):
    with closing(LiveNode(bag)) as node, serving("view", "--port", 0) as (process, port):
        with open_stream(port) as page:
            header, jpeg = receive_frame(page)
            assert (header["width"], header["height"]) == (24, 16) and jpeg.startswith(b"\xff\xd8")
            prompts = [{"kind": "box", "points": [[1, 2], [20, 12]]}]
            page.send(json.dumps({"type": "ask", "text": "find it", "prompts": prompts}))
            answer = receive_document(page, "answer", status="OK")
            assert answer["text"] == "answer to: find it"
        ((prompt,),) = (command.visual_prompts for _, command in node.perceiver.seen)
        assert prompt.points_xy.tolist() == [[1, 2], [20, 12]]
        end(process)
    assert not is_served(port)


def test_view_serves_foxglove_as_well(dds_domain, bag):
    pytest.importorskip("foxglove", reason="foxglove-sdk is not installed")
    options = ("--port", 0, "--foxglove", "--foxglove-port", 0)
    with (
        closing(LiveNode(bag)),
        serving("view", *options, also="Foxglove opens ws://") as (
            process,
            port,
        ),
    ):
        with open_stream(port) as page:
            receive_frame(page)
        end(process)


def test_serve_shows_itself_in_a_process_of_its_own(dds_domain):
    arguments = ("serve", "--view", "--view-port", 0)
    with serving(*arguments, also="looks at") as (process, port):
        with open_stream(port) as page:
            state = receive_document(page, "state")
            while "/vl2 is there" not in state["summary"]:
                state = receive_document(page, "state")
        end(process)
    assert not is_served(port)


def test_demo_asks_its_sentences_until_somebody_does(dds_domain):
    with serving("demo", "--view", "--view-port", 0) as (process, port):
        with open_stream(port) as page:
            answer = receive_document(page, "answer", status="OK")
            assert answer["question"] == "find the purple mug and the orange bowl"
            assert receive_frame(page)[0]["width"] == 640
            page.send(json.dumps({"type": "ask", "text": "find every bowl"}))
            answer = receive_document(page, "answer", question="find every bowl", status="OK")
            assert answer["images"]
        end(process)


def test_a_page_that_cannot_be_served_ends_view(dds_domain, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run("view", "--port", port) == 2
    assert "choose another --port" in capsys.readouterr().err
    assert run("view", "--port", 0, "--rate", 0) == 2
    assert "rate" in capsys.readouterr().err


def test_a_page_that_cannot_be_served_leaves_the_node(dds_domain):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = run_beside("serve", "--view", "--view-port", port)
        errors = iter(process.stderr)
        assert any("the page is not served any more" in line for line in errors)
        assert any("looks at" in line for line in process.stdout)
        end(process)


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_ports_are_checked(port):
    assert run("view", "--port", port) == 2
