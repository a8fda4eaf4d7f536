"""The open pages: what each still has to get, of frames only the newest.

A page says when it has shown a frame; until then it gets no more than two. So a slow one skips
frames, and none of them delays the program that draws.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

#: Frames on the way to one page; one travels while the other is shown.
_MOST_ON_THE_WAY = 2
#: Documents that a page gets when it opens: the state and the last answers.
_MOST_DOCUMENTS = 21
#: Most pages at a time.
MOST_PAGES = 16


class Page:
    """One open page; made and emptied on the server's loop, filled from any thread.

    Args:
        documents: what it gets at once, JSON by key.
        lock: of its audience.
    """

    def __init__(self, documents: Mapping[str, str], lock: threading.Lock) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._event.set()
        self._lock = lock
        self._documents = OrderedDict(documents)
        self._frame: bytes | None = None
        self._on_the_way = 0

    @property
    def wants_frame(self) -> bool:
        """Return whether a new frame would be sent at once; to be read under the lock."""
        return self._frame is None and self._on_the_way < _MOST_ON_THE_WAY

    def put_frame(self, frame: bytes) -> None:
        """Replace the frame that waits; to be called under the lock."""
        self._frame = frame
        self._wake()

    def put_document(self, key: str, document: str) -> None:
        """Replace the document of a key that waits; to be called under the lock."""
        self._documents[key] = document
        self._documents.move_to_end(key)
        while len(self._documents) > _MOST_DOCUMENTS:
            self._documents.popitem(last=False)
        self._wake()

    def has_shown(self) -> None:
        """Note that the page has shown a frame."""
        with self._lock:
            self._on_the_way = max(0, self._on_the_way - 1)
        self._event.set()

    async def take(self) -> list[str | bytes]:
        """Wait for something to send, and return it."""
        while True:
            await self._event.wait()
            self._event.clear()
            with self._lock:
                taken: list[str | bytes] = list(self._documents.values())
                self._documents.clear()
                if self._frame is not None and self._on_the_way < _MOST_ON_THE_WAY:
                    taken.append(self._frame)
                    self._frame = None
                    self._on_the_way += 1
            if taken:
                return taken

    def _wake(self) -> None:
        # The loop may have ended while its pages are still listed.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._event.set)


class Audience:
    """All open pages, and the documents that a new one gets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: list[Page] = []
        self._documents: OrderedDict[str, str] = OrderedDict()

    def open_page(self) -> Page | None:
        """Add a page, on the server's loop; None when there are as many as accepted."""
        with self._lock:
            if len(self._pages) >= MOST_PAGES:
                return None
            page = Page(self._documents, self._lock)
            self._pages.append(page)
            return page

    def close_page(self, page: Page) -> None:
        """Forget a page."""
        with self._lock:
            self._pages.remove(page)

    @property
    def wants_frame(self) -> bool:
        """Return whether a page would be sent a new frame at once."""
        with self._lock:
            return any(page.wants_frame for page in self._pages)

    def show_frame(self, frame: bytes) -> None:
        """Send a packed frame to every page that does not wait for an older one to be shown."""
        with self._lock:
            for page in self._pages:
                page.put_frame(frame)

    def show_document(self, key: str, document: Mapping[str, Any]) -> None:
        """Send a document to every page, and to those that open later.

        Args:
            key: a later document replaces that of the same key; of keys the last are kept.
            document: plain JSON values.
        """
        text = json.dumps(document)
        with self._lock:
            self._documents[key] = text
            self._documents.move_to_end(key)
            while len(self._documents) > _MOST_DOCUMENTS:
                self._documents.popitem(last=False)
            for page in self._pages:
                page.put_document(key, text)
