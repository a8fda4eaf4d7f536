from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from vl2_ros.console import terminal
from vl2_ros.errors import InputError

PATIENCE_S = 30.0


@pytest.fixture
def typed(monkeypatch):
    """Take the place of standard input; what is written into the pipe is typed."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as text, os.fdopen(write_end, "w") as pipe:
        monkeypatch.setattr(sys, "stdin", text)
        yield pipe


def test_sentences_are_lines_without_comments(tmp_path):
    path = tmp_path / "commands.txt"
    path.write_text("# spoken\n  find the mug \n\nwhat is there?\n")
    assert terminal.read_sentences(path) == ["find the mug", "what is there?"]


@pytest.mark.parametrize("content", [b"", b"# only\n\n", b"\xff\xfe"])
def test_file_without_sentences_is_refused(tmp_path, content):
    path = tmp_path / "commands.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="expected one"):
        terminal.read_sentences(path)


def test_remaps_are_pairs():
    assert terminal.read_remaps(None) == {}
    assert terminal.read_remaps(["image:=/front", "~/result:=/seen"]) == {
        "image": "/front",
        "~/result": "/seen",
    }


@pytest.mark.parametrize("rule", ["image", "image=/front", ":=/front", "image:=", ""])
def test_remap_written_otherwise_is_refused(rule):
    with pytest.raises(InputError, match="must be written from:=to"):
        terminal.read_remaps([rule])


def test_steps_are_lines_and_then_the_end(typed):
    steps = terminal.read_steps()
    typed.write("\nmore\n")
    typed.close()
    assert [steps.get(timeout=PATIENCE_S) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_body_and_is_forgotten_afterwards(name):
    before = signal.getsignal(name)
    with terminal.end_quietly():
        os.kill(os.getpid(), name)
        terminal.wait_for_interrupt()
    assert signal.getsignal(name) is before


def test_heard_signal_is_an_interrupt():
    with pytest.raises(KeyboardInterrupt), terminal.hear_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        terminal.wait_for_interrupt()


def test_ignored_ctrl_c_of_background_jobs_is_heard():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with terminal.end_quietly():
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            terminal.wait_for_interrupt()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_errors_pass():
    with pytest.raises(ValueError, match="mine"), terminal.end_quietly():
        raise ValueError("mine")


def test_end_of_input_interrupts(typed):
    with terminal.end_quietly():
        terminal.interrupt_at_end_of_input()
        typed.write("lines change nothing\n")
        typed.close()
        terminal.wait_for_interrupt()
