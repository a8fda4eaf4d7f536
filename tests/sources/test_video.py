"""Videos: times, rotation, damage, streams over loopback, and what is written."""

from __future__ import annotations

import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vl2_ros.errors import InputError
from vl2_ros.sources.source import find_source, read_sources
from vl2_ros.sources.video import VideoWriter, read_newest, read_video


def write_video(path: Path, stamps_ns: list[int], size_hw: tuple[int, int] = (32, 48)) -> Path:
    """Write frames whose left half is bright, each a step darker than the one before."""
    writer = VideoWriter(path)
    for index, stamp_ns in enumerate(stamps_ns):
        rgb = np.zeros((*size_hw, 3), np.uint8)
        rgb[:, : size_hw[1] // 2] = 240 - 20 * index
        writer.add(rgb, stamp_ns)
    writer.close()
    return path


def turn_by_metadata(path: Path, matrix: tuple[int, ...]) -> None:
    """Replace the identity matrix of the video's track header."""
    data = bytearray(path.read_bytes())
    one, unit = 0x10000, 0x40000000
    identity = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, unit)
    at = data.index(identity, data.index(b"tkhd"))
    data[at : at + len(identity)] = struct.pack(">9i", *matrix)
    path.write_bytes(bytes(data))


def test_frames_have_the_times_of_the_video(tmp_path):
    stamps = [5_000_000_000 + step for step in (0, 100_000_000, 250_000_000, 2_000_000_000)]
    frames = list(read_video(str(write_video(tmp_path / "a.mp4", stamps))))
    times_ms = [round(frame.stamp_ns / 1e6) for frame in frames]
    assert times_ms == [0, 100, 250, 2000]
    bright = [int(frame.rgb[16, 10, 0]) for frame in frames]
    np.testing.assert_allclose(bright, [240, 220, 200, 180], atol=4)


@pytest.mark.parametrize(
    ("matrix", "shape", "bright"),
    [
        # As a phone writes it: shown turned a quarter with the clock, so that left becomes top.
        ((0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000), (48, 32), (4, 16)),
        ((0, -0x10000, 0, 0x10000, 0, 0, 0, 0, 0x40000000), (48, 32), (44, 16)),
        ((-0x10000, 0, 0, 0, -0x10000, 0, 0, 0, 0x40000000), (32, 48), (16, 44)),
    ],
)
def test_rotation_of_the_metadata_is_applied(tmp_path, matrix, shape, bright):
    path = write_video(tmp_path / "a.mp4", [0])
    turn_by_metadata(path, matrix)
    (frame,) = read_video(str(path))
    assert frame.frame_hw == shape
    assert frame.rgb[bright][0] > 200
    opposite = (shape[0] - 1 - bright[0], shape[1] - 1 - bright[1])
    assert frame.rgb[opposite][0] < 40


def test_stamps_that_do_not_rise_are_written_a_tick_apart(tmp_path):
    stamps = [100, 100, 50, 2_000_000_000]
    frames = list(read_video(str(write_video(tmp_path / "a.mp4", stamps))))
    times = [frame.stamp_ns for frame in frames]
    assert len(frames) == 4 and times == sorted(set(times)) and round(times[-1] / 1e9, 2) == 2


def test_other_sizes_are_fitted_into_the_first(tmp_path):
    writer = VideoWriter(tmp_path / "a.mkv")
    for shape in ((33, 49), (66, 98), (10, 10)):
        writer.add(np.full((*shape, 3), 200, np.uint8), shape[0] * 1_000_000)
    writer.close()
    frames = list(read_video(str(tmp_path / "a.mkv")))
    assert [frame.frame_hw for frame in frames] == [(32, 48)] * 3
    assert frames[1].rgb[16, 24, 0] > 190
    assert frames[2].rgb[5, 5, 0] > 190 and frames[2].rgb[25, 40, 0] < 60


def test_a_video_without_an_image_is_no_file(tmp_path):
    VideoWriter(tmp_path / "a.mp4").close()
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize("name", ["none/a.mp4", "a.xyz"])
def test_what_cannot_be_written(tmp_path, name):
    with pytest.raises(InputError, match=r"cannot write .*; expected a name such as a.mp4"):
        VideoWriter(tmp_path / name)


def test_damaged_video_gives_what_can_be_read_and_the_reason(tmp_path):
    path = write_video(tmp_path / "a.mkv", [index * 100_000_000 for index in range(8)], (64, 64))
    path.write_bytes(b"no video at all")
    (image,) = read_sources([find_source(str(path))])
    assert image.frame is None and "cannot read" in str(image.error)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (image,) = read_sources([find_source(str(tmp_path / "empty.mp4"))])
    assert "cannot read" in str(image.error) and "expected a video" in str(image.error)


class _Camera(BaseHTTPRequestHandler):
    """Sends JPEG images as cameras in a network do; ten, then the connection ends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for index in range(10):
            data = BytesIO()
            image = np.full((32, 48, 3), 20 * index, np.uint8)
            Image.fromarray(image).save(data, format="JPEG")
            part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
            self.wfile.write(part % len(data.getvalue()) + data.getvalue() + b"\r\n")
            self.wfile.flush()
            time.sleep(0.02)
        if self.path == "/stalls":
            self.server.shutting_down.wait(60)
        self.wfile.write(b"--frame--\r\n")

    def log_message(self, *words: object) -> None:
        """Print nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Camera) as server:
        server.shutting_down = threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/live.mjpg"
        server.shutting_down.set()
        server.shutdown()


def test_stream_of_a_camera_in_the_network(address):
    before_ns = time.time_ns()
    frames = []
    with pytest.raises(InputError, match=r"the stream http://.* has ended"):
        frames.extend(read_newest(address))
    assert frames and frames[0].frame_hw == (32, 48)
    stamps = [frame.stamp_ns for frame in frames]
    assert before_ns < stamps[0] and stamps == sorted(stamps) and stamps[-1] < time.time_ns()
    # The last image counts, however many were dropped before it.
    assert abs(int(frames[-1].rgb[0, 0, 0]) - 180) < 4


def test_a_slow_reader_gets_the_newest(address):
    values = []
    with pytest.raises(InputError, match="has ended"):
        for frame in read_newest(address):
            values.append(int(frame.rgb[0, 0, 0]))
            time.sleep(0.3)
    assert len(values) < 8 and values == sorted(values)


def test_a_stream_that_stalls_ends(address, monkeypatch):
    monkeypatch.setattr("vl2_ros.sources.video._TIMEOUT_S", (10.0, 0.5))
    with pytest.raises(InputError, match=r"/stalls has ended: nothing came for 0.5 s; open it"):
        for frame in read_newest(address.replace("live.mjpg", "stalls")):
            assert frame.frame_hw == (32, 48)


def test_nobody_answers():
    (image,) = read_sources([find_source("http://127.0.0.1:9/none.mjpg")])
    assert image.frame is None and "cannot read http://127.0.0.1:9/none.mjpg" in str(image.error)


def test_a_password_of_a_stream_is_in_no_name_and_no_error():
    with socketserver.TCPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_address[1]
    # Nothing listens there any more.
    address = f"http://me:secret@127.0.0.1:{port}/live"
    (image,) = read_sources([find_source(address)])
    assert image.name == f"http://127.0.0.1:{port}/live"
    assert str(image.error) == f"cannot read {image.name}: Connection refused; expected a video"


def test_a_codec_takes_two_threads_at_most(tmp_path, monkeypatch):
    import av

    opened = []
    open_before = av.open

    def open_container(*args, **kwargs):
        opened.append(open_before(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr("vl2_ros.sources.video.av.open", open_container)
    frames = read_video(str(write_video(tmp_path / "a.mp4", [0, 100_000_000])))
    next(frames)
    assert [one.streams.video[0].codec_context.thread_count for one in opened[-1:]] == [2]
    frames.close()
