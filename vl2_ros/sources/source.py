"""Find out what a word of the command line names, and read its images one after the other."""

from __future__ import annotations

import enum
import glob
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vl2_ros.errors import InputError, VL2Error
from vl2_ros.processing.images.image_file import read_image
from vl2_ros.structures import Frame

#: What a folder is searched for; a file named by itself is looked into, whatever its name.
IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".npy")
)
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mjpeg", ".wmv")
)
_STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")
_RECORDING_SUFFIXES = (".mcap", ".db3")
_STDIN = "-"
#: Most bytes that are read from standard input.
_MAX_STDIN_BYTES = 256 << 20


class SourceKind(enum.Enum):
    """What a source is.

    `VIDEO` ends and has times of its own; `WEBCAM` and `STREAM` do not end, and only their newest
    image counts.
    """

    FILES = "files"
    VIDEO = "video"
    WEBCAM = "webcam"
    STREAM = "stream"
    STDIN = "standard input"


@dataclass(frozen=True, slots=True)
class Source:
    """Where images come from.

    Attributes:
        word: as it was named.
        kind: how it is read.
        files: of `FILES`, in their order.
    """

    word: str
    kind: SourceKind
    files: tuple[Path, ...] = ()

    @property
    def local_files(self) -> tuple[Path, ...]:
        """Return the files that are read: images, arrays and videos."""
        return (Path(self.word),) if self.kind is SourceKind.VIDEO else self.files

    @property
    def is_moving(self) -> bool:
        """Return whether its images follow each other in time."""
        return self.kind in (SourceKind.VIDEO, SourceKind.WEBCAM, SourceKind.STREAM)

    @property
    def is_live(self) -> bool:
        """Return whether it is watched rather than read: it does not end by itself."""
        return self.kind in (SourceKind.WEBCAM, SourceKind.STREAM)

    @property
    def is_single(self) -> bool:
        """Return whether it is one image; a .npy file of several is found out when it is read."""
        return self.kind is SourceKind.STDIN or (
            len(self.files) == 1
            and self.files[0] == Path(self.word)
            and self.files[0].suffix.lower() != ".npy"
        )


@dataclass(frozen=True, slots=True, eq=False)
class SourceImage:
    """One image of a source, or why it could not be read.

    Attributes:
        name: the file; of a video its file and the time, such as `clip.mp4@1.200s`.
        frame: with its capture time where the source has one; None when it could not be read.
        error: None when it was read.
    """

    name: str
    frame: Frame | None
    error: VL2Error | None = None


def hide_user(word: str) -> str:
    """Return an address without user and password, which no answer, file or log shall carry."""
    return re.sub(r"(?<=://)[^/?#]*@", "", word)


def is_recording(word: str) -> bool:
    """Return whether a word names a recording of ROS: an MCAP, SQLite or rosbag2 folder."""
    path = Path(word)
    return path.suffix.lower() in _RECORDING_SUFFIXES or (path / "metadata.yaml").exists()


def find_source(word: str) -> Source:
    """Find out what a word names, before anything is opened.

    Args:
        word: an image, .npy or video file, a folder, a pattern such as `images/*.jpg`, the index
            of a webcam or /dev/video0, an address rtsp:// or http://, or - for standard input.

    Raises:
        InputError: if there is no such thing.
    """
    if word == _STDIN:
        return Source(word, SourceKind.STDIN)
    if not word:
        raise InputError("a source is empty; expected an image, folder, video, webcam or address")
    if "://" in word:
        if word.partition("://")[0].lower() not in _STREAM_SCHEMES:
            schemes = ", ".join(f"{one}://" for one in _STREAM_SCHEMES)
            raise InputError(f"expected an address with {schemes}, got {hide_user(word)}")
        return Source(word, SourceKind.STREAM)
    try:
        return _find_local(word)
    except OSError as error:
        # A name that no file can have, such as a sentence, or a folder that may not be looked into.
        raise InputError(
            f"cannot read {word}: {error.strerror}; expected sources, and the sentence behind them"
        ) from error


def _find_local(word: str) -> Source:
    path = Path(word)
    if word.startswith("/dev/video") or (re.fullmatch("[0-9]{1,4}", word) and not path.exists()):
        return Source(word, SourceKind.WEBCAM)
    if is_recording(word):
        raise InputError(f"{word} is a recording; ask about it with: vl2 bag {word} OUT.mcap")
    if path.is_dir():
        return Source(word, SourceKind.FILES, _list_folder(path))
    if not path.exists() and re.search(r"[*?\[]", word):
        files = tuple(Path(one) for one in _sort_names(glob.glob(word, recursive=True)))
        files = tuple(one for one in files if one.is_file())
        if not files:
            raise InputError(f"no file fits the pattern {word}")
        return Source(word, SourceKind.FILES, files)
    if not path.exists():
        raise InputError(f"cannot read {word}: No such file or directory; expected an image file")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return Source(word, SourceKind.VIDEO)
    return Source(word, SourceKind.FILES, (path,))


def read_sources(sources: Sequence[Source]) -> Iterator[SourceImage]:
    """Read the images of sources, one at a time; a file that cannot be read does not end it.

    Args:
        sources: in their order; a live one does not end, so that what follows it is not reached.

    Yields:
        Each image or its error. Closing the iterator closes what is open.
    """
    for source in sources:
        if source.kind is SourceKind.STDIN:
            yield _read_stdin()
        elif source.kind is SourceKind.WEBCAM:
            from vl2_ros.sources.webcam import read_webcam

            yield from _name_moving(source, read_webcam(source.word))
        elif source.is_moving:
            from vl2_ros.sources.video import read_newest, read_video

            read = read_newest if source.is_live else read_video
            yield from _name_moving(source, read(source.word))
        else:
            for path in source.files:
                yield from _read_file(path)


def _name_moving(source: Source, frames: Iterator[Frame]) -> Iterator[SourceImage]:
    """Name each frame by its time; what ends a video early is its last image."""
    try:
        for frame in frames:
            time = f"{frame.stamp_ns / 1e9:.3f}s"
            yield SourceImage(f"{hide_user(source.word)}@{time}", frame)
    except VL2Error as error:
        yield SourceImage(hide_user(source.word), None, error)


def _read_file(path: Path) -> Iterator[SourceImage]:
    if path.suffix.lower() == ".npy":
        from vl2_ros.sources.arrays import read_arrays

        yield from read_arrays(path)
        return
    if path.suffix.lower() in VIDEO_SUFFIXES:
        yield from read_sources([Source(str(path), SourceKind.VIDEO)])
        return
    try:
        image = SourceImage(str(path), read_image(path))
    except VL2Error as error:
        image = SourceImage(str(path), None, error)
    yield image


def _read_stdin() -> SourceImage:
    name = "standard input"
    try:
        # None where the process was started with it closed.
        if sys.stdin is None:
            raise InputError(f"{name} is closed; expected an image, such as from < table.jpg")
        data = sys.stdin.buffer.read(_MAX_STDIN_BYTES + 1)
        if len(data) > _MAX_STDIN_BYTES:
            raise InputError(f"{name} is over the limit of {_MAX_STDIN_BYTES >> 20} MiB")
        return SourceImage(name, read_image(data))
    except VL2Error as error:
        return SourceImage(name, None, error)


def _list_folder(folder: Path) -> tuple[Path, ...]:
    names = (path.name for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    # A folder or a pipe of such a name is no image; a link that leads nowhere is an error.
    files = tuple(
        folder / name
        for name in _sort_names(names)
        if not (folder / name).exists() or (folder / name).is_file()
    )
    if not files:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"the folder {folder} holds no image; expected files with {suffixes}")
    return files


def _sort_names(names: Iterator[str] | list[str]) -> list[str]:
    """Sort names as people count: image 2 before image 10."""

    def split(name: str) -> list[tuple[int, str]]:
        parts = re.split(r"([0-9]+)", name)
        # Every other part is a number; other digits than these, such as \u00b2, are letters here.
        return [(int(part), part) if index % 2 else (-1, part) for index, part in enumerate(parts)]

    return sorted(names, key=split)
