"""Open the stream as a page does, or as a page must not."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import AbstractContextManager
from typing import Any

from websockets.sync.client import ClientConnection, connect

from vl2_ros.views.live.server import STREAM_PATH

PATIENCE_S = 30.0


def open_stream(port: int, *, token: str = "") -> AbstractContextManager[ClientConnection]:
    """Connect as the page of a server does."""
    url = f"ws://127.0.0.1:{port}{STREAM_PATH}?token={token}"
    origin = f"http://127.0.0.1:{port}"
    return connect(url, origin=origin, compression=None, max_size=None, open_timeout=PATIENCE_S)


def receive_document(stream: ClientConnection, kind: str, **fields: Any) -> dict[str, Any]:
    """Return the next document of a type whose fields have these values; frames are shown."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < end_s, f"waited in vain for {kind} with {fields}"
        one = _receive(stream)
        if isinstance(one, str):
            document = json.loads(one)
            if document["type"] == kind and fields.items() <= document.items():
                return document


def receive_frame(stream: ClientConnection) -> tuple[dict[str, Any], bytes]:
    """Return header and JPEG of the next frame, and say that it is shown."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < end_s, "waited in vain for a frame"
        one = _receive(stream)
        if isinstance(one, bytes):
            length = int.from_bytes(one[:4], "big")
            return json.loads(one[4 : 4 + length]), one[4 + length :]


def _receive(stream: ClientConnection) -> str | bytes:
    one = stream.recv(timeout=PATIENCE_S)
    if isinstance(one, bytes):
        stream.send(json.dumps({"type": "shown"}))
    return one


def knock(port: int, path: str, **headers: str) -> http.client.HTTPResponse:
    """Send a GET with exactly these headers; underscores stand for dashes."""
    door = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    door.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        door.putheader(name.replace("_", "-"), value)
    door.endheaders()
    response = door.getresponse()
    if response.status != 101:
        response.read()
    door.close()
    return response


def knock_at_stream(port: int, *, host: str, origin: str | None, token: str = "") -> int:
    """Ask for the stream; return the status, 101 when it is opened."""
    headers = {
        "Host": host,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    if origin is not None:
        headers["Origin"] = origin
    return knock(port, f"{STREAM_PATH}?token={token}", **headers).status
