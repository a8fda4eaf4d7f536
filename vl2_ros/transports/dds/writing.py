"""Write CDR bytes to DDS without the interpreter's lock.

The binding (cyclonedds 11) keeps the lock while DDS writes: 3 ms for an image of 1280x720, and as
long as DDS waits for a slow subscription; no other thread of the process runs meanwhile.
"""

# Without `annotations` from __future__: the binding reads them to declare C functions.
import ctypes

from cyclonedds.core import DDSException
from cyclonedds.internal import DDS, c_call
from cyclonedds.pub import DataWriter


class _Sample(ctypes.Structure):
    """What the binding's types take as a sample: finished CDR bytes."""

    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_size_t))


class _Library(DDS):
    @c_call("dds_write")  # type: ignore[no-untyped-call]
    def write(self, writer: ctypes.c_int32, sample: ctypes.c_void_p) -> ctypes.c_int32:  # type: ignore[empty-body]
        """Write a sample and return 0 or a negative code; releases the lock, as ctypes does."""


_LIBRARY = _Library(0)


def write_cdr(writer: DataWriter, cdr: bytes) -> None:
    """Send a message of a type of `IdlTypes.sample`.

    Args:
        writer: of the topic.
        cdr: the message, padded to a multiple of four bytes.

    Raises:
        DDSException: if DDS refuses it.
    """
    sample = _Sample(cdr, len(cdr))
    code = _LIBRARY.write(writer._ref, ctypes.byref(sample))
    if code < 0:
        raise DDSException(code, f"Occurred while writing {len(cdr)} bytes")
