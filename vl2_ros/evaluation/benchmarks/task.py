"""The task of an evaluation: records to answer and scores of their answers, and its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vl2_ros.datasets.reading.image_folder import ImageFolder
from vl2_ros.documents import is_folder, shorten_path
from vl2_ros.errors import InputError
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.structures import Frame

#: An answer, or a row of annotations: what JSON can hold.
Answer = dict[str, Any]


class Task(Protocol):
    """Records of a data set, what is asked about each, and the scores of the answers.

    An answer is small and survives JSON exactly, so that answers of several processes and of an
    interrupted run give the scores of a single run.
    """

    @property
    def keys(self) -> Sequence[str]:
        """Names of the records, each once, in the order of the data."""

    @property
    def bad(self) -> Mapping[str, str]:
        """Rows of the data that cannot be used, by name: what is wrong with them."""

    def answer(self, pipeline: Pipeline, index: int) -> Answer:
        """Ask the model about a record.

        Raises:
            InputError: if the record cannot be used.
        """

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Score answers by the index of their records; shares of 1, at least one answer."""


@dataclass(frozen=True, slots=True)
class BenchmarkData:
    """Where the data of an evaluation lies.

    Attributes:
        paths: files or folders, as the form of the data says.
        images: folder of the images; None: `images` beside the first path where it is there, else
            the folder of the first path.
        scorer: folder of weights that a score needs; None where there are none.
    """

    paths: tuple[Path, ...]
    images: Path | None = None
    scorer: Path | None = None

    def __post_init__(self) -> None:
        """Check that everything is there."""
        if not self.paths:
            raise InputError("no data is given; expected --data FILE, as docs/evaluation.md lists")
        for path in self.paths:
            if not path.exists():
                raise InputError(f"there is no data at {shorten_path(path)}; check --data")
        for folder in (self.images, self.scorer):
            if folder is not None and not is_folder(folder):
                raise InputError(f"there is no folder {shorten_path(folder)}")

    @property
    def only_path(self) -> Path:
        """Return the path.

        Raises:
            InputError: if there are several.
        """
        if len(self.paths) > 1:
            raise InputError(f"expected one --data, got {len(self.paths)}")
        return self.paths[0]

    @property
    def image_folder(self) -> Path:
        """Return the folder of the images."""
        if self.images is not None:
            return self.images
        first = self.paths[0]
        folder = first if first.is_dir() else first.parent
        return folder / "images" if (folder / "images").is_dir() else folder


@dataclass(slots=True)
class BadRows:
    """What cannot be used, by name."""

    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, reason: object) -> None:
        """Add a row; a name that comes again gets a number."""
        chosen, number = name, 1
        while chosen in self.reasons:
            number += 1
            chosen = f"{name} ({number})"
        self.reasons[chosen] = str(reason)


def read_frame(folder: Path, name: str, frame_hw: tuple[int, int] | None = None) -> Frame:
    """Read an image of a data set.

    Args:
        folder: of the images.
        name: of the file, which may lie in a folder below.
        frame_hw: height and width that the annotations are of, upright or as the pixels are stored;
            None where they say none.

    Raises:
        InputError: if it is missing, no image, of another size, or not below the folder.
    """
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise InputError(f"image {name!r} is outside of {folder}; expected a path below it")
    return ImageFolder(folder).read(name, frame_hw)
