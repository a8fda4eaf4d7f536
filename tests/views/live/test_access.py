from __future__ import annotations

import socket

import pytest

from vl2_ros.views.live.access import is_loopback, make_access


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_this_machine_alone_needs_no_token(host):
    assert is_loopback(host) and make_access(host).token == ""
    assert make_access(host).refuse_token("") == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "robot.local", ""])
def test_every_other_host_gets_a_new_token(host):
    one, other = make_access(host), make_access(host)
    assert len(one.token) >= 20 and one.token != other.token
    assert one.refuse_token(one.token) == ""
    for wrong in ("", one.token[:-1], one.token + "x", other.token, "ü"):
        assert "token" in one.refuse_token(wrong)


@pytest.mark.parametrize("header", ["localhost:8090", "127.0.0.1", "127.0.0.1:1", "[::1]:8090"])
def test_loopback_names_are_this_server(header):
    assert make_access("127.0.0.1").refuse_host(header) == ""


@pytest.mark.parametrize(
    "header",
    [
        "",
        "evil.example",
        "evil.example:8090",
        "localhost.evil.example",
        "192.168.1.7:8090",
        "[",
        "a b",
    ],
)
def test_a_name_that_was_rebound_is_refused(header):
    assert "is not this server" in make_access("127.0.0.1").refuse_host(header)


def test_a_server_of_the_network_has_its_names_and_addresses():
    access = make_access("0.0.0.0")
    for header in (socket.gethostname(), "192.168.1.7:8090", "[fe80::1]:80", "localhost:3"):
        assert access.refuse_host(header) == ""
    assert access.refuse_host("evil.example:8090")
    assert make_access("robot.local").refuse_host("robot.local:8090") == ""


def test_names_are_looked_up_once_and_by_no_request(monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getfqdn", lambda: asked.append(1) or "Robot.example")
    access = make_access("0.0.0.0")
    for _ in range(3):
        assert access.refuse_host("robot.EXAMPLE:8090") == ""
        assert access.refuse_host("evil.example")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ("http://localhost:8090", True),
        ("https://localhost:8090", True),
        ("http://localhost:8091", False),
        ("http://localhost", False),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_only_the_page_of_the_server_is_its_origin(origin, is_own):
    assert (make_access("127.0.0.1").refuse_origin(origin, "localhost:8090") == "") is is_own
