"""The frame in which 3-D results are published: one lookup an image, with a bounded wait."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from vl2_ros.node.frames.frame_lookup import FrameLookup, MissingTransformError, OpenFrames
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.transport import Transport
from vl2_ros.processing.printable import make_printable
from vl2_ros.processing.results.rigid_transform import RigidTransform
from vl2_ros.processing.results.spatial import SpatialView

#: Seconds between two looks for a transform that is on its way; a stop is noticed as often.
_LOOK_PERIOD_S = 0.005
#: Optical frames that are remembered; a node has few cameras.
_MOST_SOURCES = 64

_LOG = logging.getLogger(__name__)


class TargetFrame:
    """Moves what was measured in an optical frame into the target frame.

    The worker calls `place`, others `open`, `close` and `report`. Without a name nothing is
    opened and nothing is moved.

    Args:
        name: of the target frame; empty: results stay in the optical frame of their image.
        transport: receives transforms.
        open_frames: opens the lookup.
    """

    def __init__(self, name: str, transport: Transport, open_frames: OpenFrames) -> None:
        self.name = name
        self._transport = transport
        self._open_frames = open_frames
        self._frames: FrameLookup | None = None
        self._lock = threading.Lock()
        self._faults: dict[str, str] = {}
        self._log = RepeatedLog(_LOG)

    def open(self) -> None:
        """Listen to transforms; what was found missing before is forgotten.

        Raises:
            VL2Error: if that is not possible on this transport.
        """
        if self.name:
            with self._lock:
                self._faults.clear()
            self._frames = self._open_frames(self._transport)

    def close(self) -> None:
        """Stop listening."""
        frames, self._frames = self._frames, None
        if frames is not None:
            frames.close()

    def place(
        self,
        view: SpatialView,
        source: str,
        stamp_ns: int,
        timeout_s: float,
        is_stopped: Callable[[], bool],
    ) -> tuple[SpatialView, str]:
        """Move a view into the target frame.

        Args:
            view: in the optical frame.
            source: name of the optical frame.
            stamp_ns: time of the image, nanoseconds since the epoch.
            timeout_s: most seconds to wait for transforms of the time of the image.
            is_stopped: ends the wait.

        Returns:
            The view in the target frame and an empty text; as it was, and why, where there is no
            such transform.
        """
        frames = self._frames
        if frames is None:
            return view, ""
        try:
            transform = self._find(frames, source, stamp_ns, timeout_s, is_stopped)
        except MissingTransformError as error:
            # A wait that was cut short has shown nothing.
            if not is_stopped():
                self._note(source, str(error))
            return (
                view,
                f"3-D results are in {source!r}, not in target_frame {self.name!r}: {error}",
            )
        self._note(source, "")
        return view.move(self.name, transform), ""

    def report(self) -> Mapping[str, str]:
        """Return, for each optical frame so far, why it cannot be moved; empty where it can."""
        with self._lock:
            return dict(self._faults)

    def _find(
        self,
        frames: FrameLookup,
        source: str,
        stamp_ns: int,
        timeout_s: float,
        is_stopped: Callable[[], bool],
    ) -> RigidTransform:
        if source.removeprefix("/") == self.name:
            return RigidTransform.identity()
        if not source or stamp_ns <= 0:
            what = "frame_id" if not source else "stamp"
            raise MissingTransformError(f"the image has no {what}; let its camera set it")
        end_s = time.monotonic() + timeout_s
        while True:
            try:
                # Some drivers still write the slash that ROS 1 had.
                return frames.find(self.name, source.removeprefix("/"), stamp_ns)
            except MissingTransformError as error:
                # What was missing for the last image is not worth a wait for each image, unless
                # it is only a little late.
                is_soon = 0.0 < error.late_s <= timeout_s
                is_known = bool(self.report().get(source)) and not is_soon
                if is_known or time.monotonic() >= end_s or is_stopped():
                    raise
            time.sleep(_LOOK_PERIOD_S)

    def _note(self, source: str, fault: str) -> None:
        """Log once that a transform is missing, and once that it is there again."""
        with self._lock:
            before = self._faults.pop(source, "")
            self._faults[source] = fault
            if len(self._faults) > _MOST_SOURCES:
                del self._faults[next(iter(self._faults))]
        # Where they come and go with every image, repeats are counted.
        if fault and not before:
            self._log.log(
                logging.WARNING,
                f"missing {source}",
                "3-D results stay in frame %s, as they cannot be moved to target_frame %s: %s",
                make_printable(source),
                self.name,
                make_printable(fault),
            )
        elif before and not fault:
            self._log.log(
                logging.INFO,
                f"found {source}",
                "3-D results of frame %s are in target_frame %s again",
                make_printable(source),
                self.name,
            )
