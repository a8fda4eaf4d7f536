"""The class of every pixel: label images as ADE20K has them, scored by mIoU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vl2_ros.datasets.reading.label_files import read_class_file
from vl2_ros.documents import read_text
from vl2_ros.errors import EngineError, InputError
from vl2_ros.evaluation.benchmarks.task import Answer, BadRows, BenchmarkData, read_frame
from vl2_ros.evaluation.masks import LabelScorer, count_pairs
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.processing.images.image_file import read_label_image
from vl2_ros.structures import UNLABELLED, Route

#: Files of class names, looked for in the folder of the labels and in two folders above it.
_NAME_FILES = ("objectInfo150.txt", "classes.txt")
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
_MAX_CLASSES = 65_534


class LabelsTask:
    """Asks for all classes in every image that has a label image.

    A pixel of value 0 does not count, value 1 is the first class.

    Args:
        data: a folder of PNG files, whose images have the same names in `--images`, or in ADE20K's
            own tree.
    """

    def __init__(self, data: BenchmarkData) -> None:
        """List the label images and read the names of the classes."""
        self._folder = data.only_path
        if not self._folder.is_dir():
            raise InputError(f"expected a folder of label images, got {self._folder}")
        self._images = data.images or _find_images(self._folder)
        self._names = read_class_names(self._folder)
        self._files = sorted(self._folder.rglob("*.png"))
        if not self._files:
            raise InputError(f"there is no PNG file in {self._folder}; expected label images")
        self.keys = tuple(str(path.relative_to(self._folder)) for path in self._files)
        self._bad = BadRows()

    @property
    def bad(self) -> Mapping[str, str]:
        """Return nothing: each record is read when it is asked."""
        return self._bad.reasons

    def answer(self, pipeline: Pipeline, index: int) -> Answer:
        """Return the pixels of each pair of true and found class."""
        path = self._files[index]
        values = read_label_image(path).astype(np.int64)
        if values.max() > len(self._names):
            raise InputError(
                f"{path} has the value {values.max()}, there are {len(self._names)} classes"
            )
        truth = np.where(values == 0, UNLABELLED, values - 1)
        frame = read_frame(self._images, self._find_image(path), truth.shape)
        branch = pipeline.detect(frame, self._names, route=Route.SEGMENT)
        if branch.label_map is None:
            raise EngineError(
                "the model gave no label map of [SEG]; expected the class of each pixel"
            )
        pairs = count_pairs(truth, branch.label_map.class_ids)
        return {"pairs": pairs.tolist()}

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Return mIoU over the classes that occur, and the share of pixels that is right."""
        scorer = LabelScorer(len(self._names))
        for answer in answers.values():
            scorer.add_pairs(np.array(answer["pairs"], np.int64).reshape(-1, 3))
        return {"miou": scorer.miou(), "pixel_accuracy": scorer.pixel_accuracy()}

    def _find_image(self, path: Path) -> str:
        relative = path.relative_to(self._folder)
        for ending in _IMAGE_ENDINGS:
            if (self._images / relative.with_suffix(ending)).is_file():
                return str(relative.with_suffix(ending))
        raise InputError(f"there is no image of {relative} in {self._images}")


def _find_images(folder: Path) -> Path:
    """Return ADE20K's images/SPLIT of its annotations/SPLIT."""
    images = folder.parent.parent / "images" / folder.name
    if folder.parent.name != "annotations" or not images.is_dir():
        raise InputError(f"give --images, the folder of the images of {folder}")
    return images


def read_class_names(folder: Path) -> tuple[str, ...]:
    """Read the names of the classes, the first of them of pixel value 1.

    `classes.txt` has a name a line; in `objectInfo150.txt` names are the last column, of which the
    first of several synonyms is taken.

    Raises:
        InputError: if neither file is there, or it has no name.
    """
    for place in (folder, *folder.parents[:2]):
        for name in _NAME_FILES:
            if (place / name).is_file():
                return _read_names(place / name)
    raise InputError(
        f"there is neither {' nor '.join(_NAME_FILES)} in {folder} and the two folders above it; "
        "write the names of the classes into classes.txt, a name a line"
    )


def _read_names(path: Path) -> tuple[str, ...]:
    if path.name == _NAME_FILES[0]:
        # Its first line heads the columns.
        lines = read_text(path, InputError).rstrip().splitlines()[1:]
        names = tuple(" ".join(line.split("\t")[-1].split(",")[0].split()) for line in lines)
    else:
        names = read_class_file(path, InputError)
    if not 1 <= len(names) <= _MAX_CLASSES or not all(names):
        raise InputError(f"{path} has {len(names)} names of classes, expected 1 or more")
    return names
