"""Files, folders, patterns, arrays and standard input."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vl2_ros.errors import InputError
from vl2_ros.sources.source import Source, SourceKind, find_source, read_sources


def write_image(path: Path, value: int = 90) -> Path:
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(path)
    return path


def read(*words: object) -> list[tuple[str, int | str]]:
    """Return the name of each image, and its first value or the beginning of its error."""
    rows = []
    for image in read_sources([find_source(str(word)) for word in words]):
        if image.frame is None:
            rows.append((image.name, str(image.error)))
        else:
            rows.append((image.name, int(image.frame.rgb[0, 0, 0])))
    return rows


@pytest.fixture
def folder(tmp_path) -> Path:
    for number in (10, 2, 1):
        write_image(tmp_path / f"image_{number}.png", number)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_folder_is_read_as_people_count(folder):
    assert read(folder) == [(str(folder / f"image_{n}.png"), n) for n in (1, 2, 10)]
    assert read(folder / "*_1*.png") == [(str(folder / f"image_{n}.png"), n) for n in (1, 10)]


def test_other_digits_in_names_are_letters(tmp_path):
    for name in ("\u00b2.png", "10\u00b3.png", "\u0664.png", "9.png"):
        write_image(tmp_path / name)
    names = [Path(name).name for name, _ in read(tmp_path)]
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    assert names.index("9.png") < names.index("10\u00b3.png")


def test_folder_skips_what_is_no_file_and_names_a_link_to_nowhere(tmp_path):
    write_image(tmp_path / "a.png", 7)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "to_a.png").symlink_to("a.png")
    (tmp_path / "to_nowhere.png").symlink_to("nowhere.png")
    rows = read(tmp_path)
    assert rows[:2] == [(str(tmp_path / "a.png"), 7), (str(tmp_path / "to_a.png"), 7)]
    assert len(rows) == 3 and "to_nowhere.png: No such file" in str(rows[2][1])


def test_closed_standard_input_is_an_error_of_its_own(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    ((name, error),) = read("-")
    assert name == "standard input" and "is closed; expected an image" in str(error)


def test_an_array_of_no_images_is_an_error(tmp_path):
    np.save(tmp_path / "none.npy", np.zeros((0, 4, 6, 3), np.uint8))
    ((_, error),) = read(tmp_path / "none.npy")
    assert "holds no image: (0, 4, 6, 3)" in str(error)


def test_a_file_that_cannot_be_read_does_not_end_the_others(folder):
    (folder / "image_3.png").write_bytes(b"damaged")
    rows = read(folder)
    assert [value for _, value in rows if isinstance(value, int)] == [1, 2, 10]
    assert rows[2][0].endswith("image_3.png") and "not an image that can be read" in rows[2][1]


def test_images_are_read_when_they_are_asked_for(folder):
    images = read_sources([find_source(str(folder))])
    assert next(images).frame is not None
    for path in folder.glob("*.png"):
        path.unlink()
    assert "No such file" in str(next(images).error)


class TestArrays:
    @pytest.mark.parametrize(
        ("shape", "names"),
        [((4, 6, 3), [""]), ((2, 4, 6, 3), ["[0]", "[1]"]), ((4, 6), [""]), ((1, 4, 6, 3), [""])],
    )
    def test_shapes(self, tmp_path, shape, names):
        path = tmp_path / "a.npy"
        array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        np.save(path, array)
        images = list(read_sources([find_source(str(path))]))
        assert [image.name for image in images] == [f"{path}{name}" for name in names]
        first = array.reshape(-1, 4, 6, shape[-1])[0] if len(shape) > 2 else array[..., None]
        np.testing.assert_array_equal(
            images[0].frame.rgb, np.broadcast_to(first, images[0].frame.rgb.shape)
        )

    @pytest.mark.parametrize(
        ("array", "expected"),
        [
            (np.zeros((4, 6, 3), np.float32), "holds float32; expected uint8"),
            (np.zeros((4, 6, 4), np.uint8), "(4, 6, 4); expected (H, W, 3)"),
            (np.zeros(7, np.uint8), "(7,); expected"),
            (np.zeros((0, 6, 3), np.uint8), "at least one pixel"),
            (np.array([{}], object), "cannot read"),
        ],
    )
    def test_other_arrays_are_refused(self, tmp_path, array, expected):
        np.save(tmp_path / "a.npy", array, allow_pickle=True)
        ((_, error),) = read(tmp_path / "a.npy")
        assert expected in error

    def test_damaged_file(self, tmp_path):
        (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
        ((_, error),) = read(tmp_path / "a.npy")
        assert "cannot read" in error and "expected an array of numpy" in error


class TestStandardInput:
    def read(self, monkeypatch, data: bytes) -> list[tuple[str, int | str]]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return read("-")

    def test_is_one_image(self, monkeypatch, tmp_path):
        data = write_image(tmp_path / "a.png", 77).read_bytes()
        assert self.read(monkeypatch, data) == [("standard input", 77)]

    def test_other_bytes(self, monkeypatch):
        ((name, error),) = self.read(monkeypatch, b"")
        assert name == "standard input" and "expected" in error


@pytest.mark.parametrize(
    ("word", "kind", "is_moving", "is_live", "is_single"),
    [
        ("-", SourceKind.STDIN, False, False, True),
        ("0", SourceKind.WEBCAM, True, True, False),
        ("/dev/video3", SourceKind.WEBCAM, True, True, False),
        ("rtsp://camera/1", SourceKind.STREAM, True, True, False),
        ("http://[::1/a", SourceKind.STREAM, True, True, False),
        ("HTTP://camera/live.mjpg", SourceKind.STREAM, True, True, False),
        ("clip.MP4", SourceKind.VIDEO, True, False, False),
        ("image_1.png", SourceKind.FILES, False, False, True),
        (".", SourceKind.FILES, False, False, False),
        ("image_1*", SourceKind.FILES, False, False, False),
        ("7", SourceKind.FILES, False, False, True),
    ],
)
def test_what_a_word_names(folder, monkeypatch, word, kind, is_moving, is_live, is_single):
    monkeypatch.chdir(folder)
    (folder / "clip.MP4").write_bytes(b"")
    (folder / "7").write_bytes(b"a file, although webcams have numbers")
    source = find_source(word)
    assert source.kind is kind
    assert (source.is_moving, source.is_live, source.is_single) == (is_moving, is_live, is_single)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("none.jpg", "cannot read none.jpg: No such file"),
        ("none*.jpg", "no file fits the pattern none*.jpg"),
        ("", "a source is empty; expected an image"),
        ("what is on the table? " * 20, "File name too long; expected sources, and the sentence"),
        ("ftp://me:secret@x/a.jpg", "https://, got ftp://x/a.jpg$"),
        ("99999999999999999999", "No such file"),
        ("ftp://x/a.jpg", "expected an address with rtsp://, rtsps://, http://, https://"),
        ("file:///etc/passwd", "expected an address with"),
        ("empty", "holds no image; expected files with .bmp"),
        ("drive.mcap", "is a recording; ask about it with: vl2 bag drive.mcap OUT.mcap"),
        ("bag", "is a recording; ask about it with: vl2 bag bag OUT.mcap"),
    ],
)
def test_what_is_no_source(tmp_path, monkeypatch, word, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "metadata.yaml").write_text("")
    with pytest.raises(InputError, match=expected.replace("*", r"\*").replace("?", r"\?")):
        find_source(word)


def test_a_file_with_the_name_of_a_pattern_is_that_file(tmp_path):
    path = write_image(tmp_path / "a[1].png", 5)
    write_image(tmp_path / "a1.png", 6)
    assert read(path) == [(str(path), 5)]
    assert find_source(str(path)) == Source(str(path), SourceKind.FILES, (path,))
