"""Serve the page and its stream: Starlette on uvicorn, in a thread of its own.

Knows neither node nor camera: it sends what the audience is shown, and passes commands on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from vl2_ros.errors import ConfigError, VL2Error
from vl2_ros.views.live.access import Access, make_access
from vl2_ros.views.live.audience import MOST_PAGES, Audience, Page
from vl2_ros.views.live.page_commands import (
    MAX_MESSAGE_BYTES,
    PageCommand,
    PageMode,
    read_page_command,
)

STREAM_PATH = "/live"
_PAGE_FOLDER = Path(__file__).with_name("page")
#: The page needs nothing but its own files, its stream, and images within its documents.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
#: Close codes of the WebSocket protocol.
_REFUSED, _TRY_AGAIN_LATER = 1008, 1013
_END_S = 3.0

_log = logging.getLogger(__name__)


class LiveServer:
    """Serves the page until it is closed.

    Args:
        audience: what the pages show.
        on_command: called with a page's command, on a thread that may wait; what it raises as a
            VL2Error is shown on that page.
        host: to bind to; beyond loopback the URL gets a token.
        port: to bind to; 0 takes a free one.

    Attributes:
        url: of the page, with its token.

    Raises:
        ConfigError: if it cannot be bound there.
    """

    def __init__(
        self,
        audience: Audience,
        on_command: Callable[[PageCommand], None],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._audience, self._on_command = audience, on_command
        self._access = make_access(host)
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        token = f"#{quote(self._access.token)}" if self._access.token else ""
        self.url = f"http://{_name_host(host)}:{self.port}/{token}"
        config = uvicorn.Config(
            _Guard(self._make_app(), self._access),
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws_max_size=MAX_MESSAGE_BYTES,
            # JPEG does not get smaller, and what is packed could be a bomb.
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
        )
        # Here, so that a package that is missing is an error of the caller.
        config.load()
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="vl2-view-server", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the server and every page's stream; a second call does nothing."""
        self._server.should_exit = True
        self._thread.join(_END_S)
        # A loop that still ends would stop at a socket that is gone; it closes its own.
        if not self._thread.is_alive():
            self._socket.close()

    def _make_app(self) -> Starlette:
        files = StaticFiles(directory=_PAGE_FOLDER, html=True)
        return Starlette(
            routes=[WebSocketRoute(STREAM_PATH, self._stream), Mount("/", files)],
        )

    async def _stream(self, socket: WebSocket) -> None:
        """Serve one page: two tasks, one for each direction; the first to end ends both."""
        await socket.accept()
        page = self._audience.open_page()
        if page is None:
            await socket.close(_TRY_AGAIN_LATER, f"{MOST_PAGES} pages are open; close one")
            return
        tasks = [
            asyncio.create_task(_send_all(socket, page)),
            asyncio.create_task(self._receive_all(socket, page)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                # A page that has gone is the usual end.
                with suppress(WebSocketDisconnect):
                    task.result()
        finally:
            self._audience.close_page(page)
            for task in tasks:
                task.cancel()

    async def _receive_all(self, socket: WebSocket, page: Page) -> None:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                command = read_page_command(message.get("text") or "")
                if command.mode is PageMode.SHOWN:
                    page.has_shown()
                else:
                    await run_in_threadpool(self._on_command, command)
            except VL2Error as error:
                await socket.send_text(json.dumps({"type": "error", "message": str(error)}))


async def _send_all(socket: WebSocket, page: Page) -> None:
    while True:
        for one in await page.take():
            if isinstance(one, bytes):
                await socket.send_bytes(one)
            else:
                await socket.send_text(one)


class _Guard:
    """Refuses hosts, origins and streams by the rules of access; adds headers to what is served."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if refusal := self._refuse(scope):
            _log.warning("refused %s: %s", scope.get("client"), refusal)
            # Before a WebSocket is accepted, this ends it as a HTTP request.
            response = PlainTextResponse(refusal + "\n", 403)
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": _REFUSED, "reason": refusal[:100]})
            else:
                await response(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_guarded)

    def _refuse(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if refusal := self._access.refuse_host(host):
            return refusal
        is_stream = scope["type"] == "websocket"
        # Browsers always name the origin of a stream; a GET of the page itself has none.
        if is_stream or origin is not None:
            refusal = self._access.refuse_origin(origin or "", host)
        if not refusal and is_stream:
            token = QueryParams(scope["query_string"]).get("token", "")
            refusal = self._access.refuse_token(token)
        return refusal


def _bind(host: str, port: int) -> socket.socket:
    """Open the socket here, so that a port in use is an error of the caller."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, number)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            # Who opens the URL at once waits until the server runs.
            opened.listen()
        except OSError:
            opened.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(
            f"the page cannot be served on {host} port {port}: {error}; choose another --port, 0 "
            "for a free one, or an address of this machine as --host"
        ) from error
    return opened


def _name_host(host: str) -> str:
    """Return the host of the URL: this machine's name where it is bound to every address."""
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
