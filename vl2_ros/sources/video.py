"""Read and write videos through PyAV, which brings FFmpeg with it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.sources.newest import keep_newest
from vl2_ros.sources.source import hide_user
from vl2_ros.structures import MAX_FRAME_PIXELS, Frame

#: Seconds to open a stream and to wait for its next part.
_TIMEOUT_S = (10.0, 10.0)
_TIME_BASE = Fraction(1, 90_000)
#: Quarter turns against the clock -> OpenCV's code.
_TURNS = {
    1: cv2.ROTATE_90_COUNTERCLOCKWISE,
    2: cv2.ROTATE_180,
    3: cv2.ROTATE_90_CLOCKWISE,
}
_BACKGROUND = 24
#: Most threads of a codec, as everywhere here.
_THREADS = 2


def read_video(path: str) -> Iterator[Frame]:
    """Yield every frame of a video file, upright, with its time since the beginning.

    Raises:
        InputError: if it is no video, or damaged from some frame on.
    """
    for frame, seconds in _decode(path):
        yield Frame(frame, round(seconds * 1e9))


def read_newest(address: str) -> Iterator[Frame]:
    """Yield the newest frame of a stream with the time of its arrival, until it ends.

    Raises:
        InputError: if it cannot be opened, or breaks.
    """

    def follow() -> Generator[Frame, None, None]:
        for frame, _ in _decode(address):
            yield Frame(frame, time.time_ns())

    yield from keep_newest(follow())


def _decode(source: str) -> Generator[tuple[np.ndarray, float], None, None]:
    """Yield (H, W, 3) uint8 RGB and seconds since the first frame."""
    options = {"rtsp_transport": "tcp"} if source.lower().startswith("rtsp") else {}
    first_s, name = None, hide_user(source)
    try:
        with av.open(source, options=options, timeout=_TIMEOUT_S) as container:
            if not container.streams.video:
                raise InputError(f"{name} holds no video; expected a file with images")
            stream = container.streams.video[0]
            # Of its own accord PyAV takes a thread for each processor.
            stream.thread_count = _THREADS
            if stream.width * stream.height > MAX_FRAME_PIXELS:
                raise InputError(
                    f"{name} has {stream.width}x{stream.height} pixels, over the limit of "
                    f"{MAX_FRAME_PIXELS}"
                )
            for count, frame in enumerate(container.decode(stream)):
                # Without times, as in a bare stream of JPEG images, 25 images are a second.
                seconds = count / 25.0 if frame.time is None else float(frame.time)
                first_s = seconds if first_s is None else first_s
                yield _turn_upright(frame), max(0.0, seconds - first_s)
            if first_s is None:
                raise InputError(f"{name} holds no image that can be read")
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        # FFmpeg's own text repeats the address, with what is secret in it.
        reason = getattr(error, "strerror", None) or type(error).__name__
        if isinstance(error, av.error.ExitError):
            reason = f"nothing came for {_TIMEOUT_S[1]:g} s"
        if first_s is not None and "://" in source:
            raise InputError(f"the stream {name} has ended: {reason}; open it again") from error
        raise InputError(f"cannot read {name}: {reason}; expected a video") from error


def _turn_upright(frame: Any) -> np.ndarray:
    """Convert a frame to RGB, turned as its metadata says."""
    rgb: np.ndarray = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return rgb if turns == 0 else cv2.rotate(rgb, _TURNS[turns])


class VideoWriter:
    """Writes images of one size into an H.264 video, each at its own time.

    Args:
        path: new file; its ending chooses the container.

    Raises:
        InputError: if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: Any = None
        self._first_ns, self._last_ticks = 0, -1
        try:
            # FFmpeg opens the file with the first image only.
            path.open("wb").close()
            self._container = av.open(str(path), "w")
        except (OSError, ValueError) as error:
            raise InputError(f"cannot write {path}: {error}; expected a name such as a.mp4") from (
                error
            )

    def add(self, rgb: np.ndarray, stamp_ns: int) -> None:
        """Write an image.

        Args:
            rgb: (H, W, 3) uint8; one of another size than the first is fitted into that.
            stamp_ns: its time; one that does not rise comes a tick after the last.

        Raises:
            InputError: if it cannot be written.
        """
        try:
            if self._stream is None:
                self._open_stream(rgb, stamp_ns)
            frame = av.VideoFrame.from_ndarray(self._fit(rgb), format="rgb24")
            ticks = int((stamp_ns - self._first_ns) * _TIME_BASE.denominator // 1_000_000_000)
            self._last_ticks = max(ticks, self._last_ticks + 1)
            frame.pts, frame.time_base = self._last_ticks, _TIME_BASE
            self._container.mux(self._stream.encode(frame))
        except av.FFmpegError as error:
            raise InputError(f"cannot write {self._path}: {error}") from error

    def close(self) -> None:
        """Write what is left; a video without an image is no file."""
        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode())
            self._container.close()
        except av.FFmpegError as error:
            raise InputError(f"cannot write {self._path}: {error}") from error
        if self._stream is None:
            self._path.unlink(missing_ok=True)

    def _open_stream(self, rgb: np.ndarray, stamp_ns: int) -> None:
        stream = self._container.add_stream("libx264", rate=30)
        # The colours of H.264 need even sides.
        stream.width, stream.height = rgb.shape[1] // 2 * 2, rgb.shape[0] // 2 * 2
        stream.pix_fmt, stream.time_base = "yuv420p", _TIME_BASE
        stream.codec_context.time_base = _TIME_BASE
        stream.thread_count = _THREADS
        stream.options = {"preset": "veryfast", "crf": "20"}
        self._stream, self._first_ns = stream, stamp_ns

    def _fit(self, rgb: np.ndarray) -> np.ndarray:
        """Cut the odd row and column, or fit another size into that of the first image."""
        size_hw = self._stream.height, self._stream.width
        if rgb.shape[0] // 2 * 2 == size_hw[0] and rgb.shape[1] // 2 * 2 == size_hw[1]:
            return np.ascontiguousarray(rgb[: size_hw[0], : size_hw[1]])
        scale = min(1.0, size_hw[0] / rgb.shape[0], size_hw[1] / rgb.shape[1])
        small_wh = max(1, int(rgb.shape[1] * scale)), max(1, int(rgb.shape[0] * scale))
        small = cv2.resize(rgb, small_wh, interpolation=cv2.INTER_AREA)
        canvas = np.full((*size_hw, 3), _BACKGROUND, np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        return canvas
