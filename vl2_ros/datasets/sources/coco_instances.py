"""COCO instances: boxes, and masks where all objects of an image have one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vl2_ros.datasets.reading.coco_index import CocoIndex, open_coco
from vl2_ros.datasets.reading.coco_scan import IndexOptions
from vl2_ros.datasets.reading.image_folder import ImageFolder, find_images, strip_folders
from vl2_ros.datasets.samples import Group, LabelledObjects, TrainingSample
from vl2_ros.datasets.sources.labelled_source import ClassChoice, LabelledSource, SourceOptions
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.processing.language.prompt import fill_answer
from vl2_ros.structures import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoOptions(SourceOptions):
    """Options of sources that read a COCO file.

    Attributes:
        annotations: the file.
        images: folder of the images; None takes `images` beside the file, else its own folder.
    """

    annotations: Path
    images: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoInstancesOptions(CocoOptions):
    """Options of COCO instances.

    Attributes:
        masks: whether masks are read.
        max_classes: most classes of a question; of a larger vocabulary, those of the image are
            asked with others.
    """

    masks: bool = True
    max_classes: int = 100


class CocoSource(LabelledSource):
    """A source whose records are the images of a COCO file.

    Args:
        options: of the source.
        index_options: what of the file is checked.
    """

    def __init__(self, options: CocoOptions, index_options: IndexOptions) -> None:
        """Read the index."""
        super().__init__(options, options.annotations)
        folder = ImageFolder(find_images(options.annotations, options.images))
        self._index: CocoIndex | None = open_coco(
            options.annotations, folder, self.report, index_options
        )
        self._records = np.arange(0 if self._index is None else len(self._index))

    @property
    def index(self) -> CocoIndex:
        """Return the index of a source that has records."""
        assert self._index is not None
        return self._index

    def __len__(self) -> int:
        """Return the number of usable records."""
        return len(self._records)

    def key(self, index: int) -> str:
        """Return the file name of a record's image."""
        return self.index.image_name(self._find_image(index))

    def image_keys(self, index: int) -> tuple[str, ...]:
        """Return the name of a record's image."""
        return (strip_folders(self.index.image_name(self._find_image(index))),)

    def _find_image(self, index: int) -> int:
        """Return the number of a record's image."""
        return int(self._records[index])

    def read_objects(
        self, image: int, numbers: Sequence[int], classes: Sequence[int], *, masks: bool
    ) -> LabelledObjects:
        """Read some annotations of an image as targets.

        Args:
            image: number of the image.
            numbers: of the annotations.
            classes: of each.
            masks: read the masks, if all of them have one.

        Raises:
            BadRecordError: if a mask has no pixel.
        """
        found = None
        if masks and len(numbers) and self.index.has_mask[list(numbers)].all():
            found = np.stack([self.index.mask(number, image) for number in numbers])
        return LabelledObjects(
            self.index.boxes_xyxy[list(numbers)].reshape(-1, 4),
            np.array(classes, np.int64),
            found,
        )


class CocoInstances(CocoSource):
    """Asks for classes of objects by name; the answer has one [DET] for each.

    Args:
        options: of the source.
    """

    group = Group.DETECTION

    def __init__(self, options: CocoInstancesOptions) -> None:
        """Read the index, and merge categories of one name."""
        super().__init__(options, IndexOptions(options.max_bytes))
        self._masks = options.masks
        self._choice = ClassChoice(options.max_classes)
        categories = () if self._index is None else self._index.categories
        names = [category.name for category in categories]
        if len(names) > options.max_classes:
            names = [name.lower() for name in names]
        self._names = tuple(dict.fromkeys(names))
        positions = {name: position for position, name in enumerate(self._names)}
        self._class_of = np.array([positions[name] for name in names], np.int64)
        if not self._names:
            self._records = self._records[:0]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self._names

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self._names

    def count_classes(self) -> dict[str, int]:
        """Return how many objects there are of each class."""
        if self._index is None:
            return {}
        classes = self._class_of[self._index.category_index]
        counts = np.bincount(classes, minlength=len(self._names))
        return dict(zip(self._names, counts.tolist(), strict=True))

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        image = int(self._records[index])
        frame = self.index.read_image(image)
        numbers = np.array(self.index.annotations(image), np.int64)
        classes = self._class_of[self.index.category_index[numbers]]
        chosen = self._choice.draw(
            np.unique(classes).tolist(), len(self._names), rng, evaluation=self._evaluation
        )
        asked = {one: position for position, one in enumerate(chosen)}
        kept = [number for number, one in zip(numbers, classes, strict=True) if one in asked]
        positions = [asked[one] for one in classes if one in asked]
        names = [self._names[one] for one in chosen]
        question = fill(
            draw_sentence("detect questions", self._wording(rng)), names=", ".join(names)
        )
        answer = draw_sentence("detect answers", self._wording(rng))
        return TrainingSample(
            self.group,
            ((question, fill_answer(answer, names, Route.DETECT)),),
            (frame,),
            targets=self.read_objects(image, kept, positions, masks=self._masks),
            key=self.key(index),
            names=tuple(names),
        )
