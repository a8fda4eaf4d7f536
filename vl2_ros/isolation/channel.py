"""Messages between this process and its child: pickles on a private socket, arrays in memory.

A message with large arrays travels in an anonymous memory file of its own, whose descriptor goes
through the socket. The receiver maps it, and its arrays are views of that mapping: they are not
copied a second time, not overwritten by the next message, and freed with the last of them. Nothing
has a name, so a process that is killed leaves nothing behind.

Reading a pickle runs code. That is right between two ends of one program and nowhere else: the
socket is an unnamed pair that the child inherits, never a port.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

from vl2_ros.errors import TransportError

#: Number of parts (the pickle, then the arrays), bytes in all, whether they are in a memory file.
_HEADER = struct.Struct("<IQ?")
#: Parts begin at multiples of it, so that arrays are aligned for every dtype.
_ALIGNMENT = 64
#: Smaller arrays stay in the pickle, smaller pickles on the socket; bytes.
_LEAST_ARRAY = 16_384
_MOST_ON_SOCKET = 32_768


class ChannelClosed(TransportError):  # noqa: N818 - an end, which need not be an error
    """The other end is gone."""


class Channel:
    """One end of the pair. Any thread may send; one thread receives.

    Args:
        end: a connected stream socket of the family AF_UNIX, owned from now on.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()

    def send(self, message: Any) -> None:
        """Send a message.

        Raises:
            ChannelClosed: if the other end is gone.
            OSError: if there is no memory for the arrays.
            Exception: whatever pickling raises; nothing is sent then.
        """
        parts = _pickle(message)
        if len(parts) == 1 and len(parts[0]) <= _MOST_ON_SOCKET:
            self._transmit(_HEADER.pack(1, len(parts[0]), False) + parts[0])
            return
        with open(_open_memory_file(), "wb", buffering=0) as memory:
            size = _write(memory.fileno(), parts)
            self._transmit(_HEADER.pack(len(parts), size, True), memory.fileno())

    def receive(self) -> Any:
        """Wait for a message.

        Raises:
            ChannelClosed: if the other end is gone.
            Exception: whatever unpickling raises.
        """
        head, files = self._receive_header()
        count, size, is_in_memory = _HEADER.unpack(head)
        if is_in_memory:
            return _read(files[0], count, size)
        return pickle.loads(self._receive_exactly(size))

    def close(self) -> None:
        """End the connection, also while a thread receives; twice is harmless."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _transmit(self, data: bytes, *files: int) -> None:
        try:
            with self._sending:
                # The files go with the first byte; the rest may need more than one call.
                sent = socket.send_fds(self._socket, [data], files) if files else 0
                self._socket.sendall(data[sent:])
        except OSError as error:
            raise ChannelClosed(f"the other end is gone: {error}") from error

    def _receive_header(self) -> tuple[bytes, list[int]]:
        # Descriptors that children of this process must not inherit, where the system supports it.
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        try:
            head, files, _, _ = socket.recv_fds(self._socket, _HEADER.size, 1, flags)
        except OSError as error:
            raise ChannelClosed(f"the other end is gone: {error}") from error
        if not head:
            raise ChannelClosed("the other end is gone")
        return head + self._receive_exactly(_HEADER.size - len(head)), files

    def _receive_exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                piece = self._socket.recv(size - len(data))
            except OSError as error:
                raise ChannelClosed(f"the other end is gone: {error}") from error
            if not piece:
                raise ChannelClosed("the other end is gone in the middle of a message")
            data += piece
        return bytes(data)


def _pickle(message: Any) -> list[Any]:
    """Return the pickle, then the memory of the arrays that are not in it."""
    arrays: list[memoryview] = []

    def stays_inside(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < _LEAST_ARRAY:
            return True
        arrays.append(view)
        return False

    return [pickle.dumps(message, protocol=5, buffer_callback=stays_inside), *arrays]


def _open_memory_file() -> int:
    if sys.platform == "linux":
        return os.memfd_create("vl2 message")
    file, name = tempfile.mkstemp()
    os.unlink(name)
    return file


def _align(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT


def _write(file: int, parts: Sequence[Any]) -> int:
    """Write the sizes of the parts, then each part at an aligned offset; return the size of all."""
    table = struct.pack(f"<{len(parts)}Q", *(len(part) for part in parts))
    position = 0
    for part in (table, *parts):
        position, rest = _align(position), memoryview(part)
        # A call writes 2 GB at most.
        while len(rest):
            count = os.pwrite(file, rest, position)
            position, rest = position + count, rest[count:]
    return position


def _read(file: int, count: int, size: int) -> Any:
    try:
        view = memoryview(mmap.mmap(file, size))
    finally:
        os.close(file)
    table = struct.Struct(f"<{count}Q")
    parts, position = [], table.size
    for length in table.unpack_from(view):
        position = _align(position)
        parts.append(view[position : position + length])
        position += length
    return pickle.loads(parts[0], buffers=parts[1:])
