"""Keep the newest image of a source that does not wait."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator

from vl2_ros.errors import VL2Error
from vl2_ros.structures import Frame


def keep_newest(frames: Generator[Frame, None, None]) -> Iterator[Frame]:
    """Read frames on a thread of their own and yield the newest of each moment; others are dropped.

    Raises:
        VL2Error: what ended the source.
    """
    changed = threading.Condition()
    newest: list[Frame] = []
    ended: list[BaseException | None] = []
    closed = threading.Event()

    def follow() -> None:
        failure: BaseException | None = None
        try:
            for frame in frames:
                if closed.is_set():
                    break
                with changed:
                    newest[:] = [frame]
                    changed.notify()
        except VL2Error as error:
            failure = error
        finally:
            frames.close()
            with changed:
                ended.append(failure)
                changed.notify()

    thread = threading.Thread(target=follow, name="vl2-source", daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                # In pieces: an interrupt is seen between two of them.
                while not newest and not ended:
                    changed.wait(0.2)
                frame = newest.pop() if newest else None
            if frame is None:
                if ended[0] is not None:
                    raise ended[0]
                return
            yield frame
    finally:
        closed.set()
