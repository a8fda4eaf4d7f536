"""Messages between this process and the perceiver's process."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from vl2_ros import errors
from vl2_ros.errors import EngineError, VL2Error
from vl2_ros.structures import Command, Event, Frame, ModelInfo

#: Code with which the process leaves when its GPU answers no call any more.
GPU_LOST_CODE = 71


@dataclass(frozen=True, slots=True)
class Load:
    """First message to the process: make the perceiver.

    Attributes:
        pickled: a callable without arguments, pickled apart, so that one that cannot be read is a
            failure that the process can report.
    """

    pickled: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Answer a command about a frame.

    Attributes:
        number: of the run, larger than all before it, those of earlier processes included.
        frame: the image; None for one that the process keeps.
        frame_number: by which the process keeps the frame until it is to forget it.
        command: the sentence and its limits.
        memory: number of the run whose memory this one begins with; None, or a number that the
            process does not know, begins anew.
    """

    number: int
    frame: Frame | None
    frame_number: int
    command: Command
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Close the run before its next event, or do not begin it; also forget its memory."""

    number: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Free the memory that the run of this number gave, or the frame of this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """The perceiver is ready; loading is run 0."""

    info: ModelInfo
    number: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Happened:
    """A run yielded an event; in a ResultEvent, the number of the run stands for its memory."""

    number: int
    event: Event


@dataclass(frozen=True, slots=True)
class Done:
    """A run has ended, in whichever way; `info` is the perceiver's now."""

    number: int
    info: ModelInfo


@dataclass(frozen=True, slots=True)
class Failed:
    """Loading (number 0) or a run raised an error.

    Attributes:
        number: of the run.
        names: classes of the error, the most special one first.
        text: of the error.
        traceback: with all that led to it; empty for errors that are raised on purpose.
        missing: name of the package, where one that was to be imported is not installed.
    """

    number: int
    names: tuple[str, ...]
    text: str
    traceback: str = ""
    missing: str = ""

    def make_error(self) -> VL2Error | ModuleNotFoundError:
        """Return the error as it is raised on this side; EngineError for classes that are not ours.

        A class that is not in `errors` becomes its nearest base there.
        """
        if self.missing:
            return ModuleNotFoundError(self.text, name=self.missing)
        known = {kind.__name__: kind for kind in _list_errors(VL2Error)}
        for name in self.names:
            if name in known:
                return known[name](self.text)
        return EngineError(f"{self.names[0]}: {self.text}")


#: From the node to the process, and back.
Order = Load | Run | Cancel | Forget
Report = Loaded | Happened | Done | Failed


def describe_failure(error: BaseException, number: int = 0) -> Failed:
    """Make the message about an error that loading or a run raised."""
    is_ours = isinstance(error, VL2Error)
    missing = error.name or "" if isinstance(error, ModuleNotFoundError) and not number else ""
    return Failed(
        number,
        tuple(kind.__name__ for kind in type(error).__mro__),
        str(error),
        traceback="" if is_ours else "".join(traceback.format_exception(error)),
        missing=missing,
    )


def _list_errors(kind: type[VL2Error]) -> Iterator[type[VL2Error]]:
    if kind.__module__ == errors.__name__:
        yield kind
    for derived in kind.__subclasses__():
        yield from _list_errors(derived)
