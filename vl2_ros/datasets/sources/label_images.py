"""Semantic label images: one file of class numbers for each image, as ADE20K has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.reading.image_folder import ImageFolder
from vl2_ros.datasets.reading.label_files import list_image_files, read_class_file, read_label_file
from vl2_ros.datasets.samples import Group, LabelledObjects, TrainingSample
from vl2_ros.datasets.sources.labelled_source import ClassChoice, LabelledSource, SourceOptions
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.errors import ConfigError
from vl2_ros.processing.language.prompt import fill_answer
from vl2_ros.processing.language.tokenizer import neutralise
from vl2_ros.structures import Route

CLASS_FILE = "classes.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelImagesOptions(SourceOptions):
    """Options of label images.

    Attributes:
        annotations: folder of the label images, named like their images.
        images: folder of the images; None takes `images` beside it.
        classes: names in the order of their values; () reads `classes.txt` beside the folder, a
            name a line.
        first_value: value of the first class; ADE20K has 1.
        ignored_value: value of pixels without a label, beside values that no class has.
        max_classes: most classes of a question.
    """

    annotations: Path
    images: Path | None = None
    classes: tuple[str, ...] = ()
    first_value: int = 0
    ignored_value: int = 255
    max_classes: int = 150


class LabelImages(LabelledSource):
    """Asks for classes of pixels; the answer has one [SEG] for each.

    Args:
        options: of the source.

    Raises:
        ConfigError: if no classes are named.
    """

    group = Group.DETECTION

    def __init__(self, options: LabelImagesOptions) -> None:
        """Pair the files of the two folders."""
        super().__init__(options, options.annotations)
        self._options = options
        self._folder = ImageFolder(options.images or options.annotations.parent / "images")
        self._names = _read_classes(options)
        self._choice = ClassChoice(options.max_classes)
        labels = {path.stem: path for path in list_image_files(options.annotations)}
        images = {path.stem: path for path in list_image_files(self._folder.folder)}
        self.report.totals["images"] += len(images.keys() | labels.keys())
        for stem in sorted(images.keys() ^ labels.keys()):
            what = "image missing" if stem in labels else "label image missing"
            self.report.skip(BadRecordError("images", what), stem)
        self._pairs = [(images[stem], labels[stem]) for stem in sorted(images.keys() & labels)]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self._names

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self._names

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._pairs)

    def key(self, index: int) -> str:
        """Return the file name of an image."""
        return self._pairs[index][0].name

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        image, label = self._pairs[index]
        frame = self._folder.read(image.name)
        values = read_label_file(label, frame.frame_hw)
        classes = values - self._options.first_value
        classes[(values == self._options.ignored_value) | (classes >= len(self._names))] = -1
        present = [int(one) for one in np.unique(classes) if one >= 0]
        if not present:
            raise BadRecordError("images", "label image without a labelled pixel")
        chosen = self._choice.draw(present, len(self._names), rng, evaluation=self._evaluation)
        names = [self._names[one] for one in chosen]
        question = draw_sentence("label questions", self._wording(rng))
        answer = draw_sentence("label answers", self._wording(rng))
        return TrainingSample(
            self.group,
            (
                (
                    # Only the answer keeps the case of class names.
                    fill(question, names=", ".join(names).lower()),
                    fill_answer(answer, names, Route.SEGMENT),
                ),
            ),
            (frame,),
            targets=_gather_areas(classes, chosen),
            key=self.key(index),
            names=tuple(names),
        )


def _gather_areas(classes: np.ndarray, chosen: list[int]) -> LabelledObjects:
    """Return one object for each class that is there: all of its pixels."""
    boxes, positions, masks = [], [], []
    for position, one in enumerate(chosen):
        mask = classes == one
        if not mask.any():
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        positions.append(position)
        masks.append(mask)
    return LabelledObjects(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(positions, np.int64),
        np.stack(masks) if masks else np.zeros((0, *classes.shape), np.bool_),
    )


def _read_classes(options: LabelImagesOptions) -> tuple[str, ...]:
    names = tuple(" ".join(neutralise(name).split()) for name in options.classes)
    if not names:
        path = options.annotations.parent / CLASS_FILE
        advice = f"expected {CLASS_FILE} beside the label images, or classes of the source"
        names = read_class_file(path, ConfigError, advice=advice)
    if not all(names) or len(set(names)) < len(names):
        raise ConfigError(
            f"classes of {options.annotations} must be different names, got {len(names)} names"
        )
    return names
