"""Complete the recipe `finetune` for a COCO file: sources, held-out images, when to measure."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.datasets.reading.image_folder import find_images
from vl2_ros.datasets.samples import Group
from vl2_ros.documents import check_list, read_json_object, shorten
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.training.conversations.objective import DECODER_PARTS
from vl2_ros.training.conversations.settings import ConversationSettings
from vl2_ros.training.loop.batches import count_steps
from vl2_ros.training.loop.state import STATE_FILE
from vl2_ros.training.recipes.reading import read_recipe
from vl2_ros.training.recipes.recipe import Recipe

logger = logging.getLogger(__name__)

#: The recipe whose values are completed where they are as it has them.
RECIPE = "finetune"
#: Beside the parts of a run: what they were made of.
DATA_FILE = "data.json"
#: Points of a run at which held-out images are scored, where the recipe names no other steps.
POINTS = 5
#: Share of the images that is held out where no others are given.
HELD_OUT_SHARE = 0.1
#: Most classes of a question; longer ones fit small models badly and take long.
_MOST_CLASSES = 40
#: A step of poses for each of boxes would leave a fresh decoder behind one that has learned.
_POSE_WEIGHT = 2.0
_MAX_FILE_BYTES = 1 << 30
_MOST_ROWS = 50_000_000


@dataclass(frozen=True, slots=True)
class FinetuneData:
    """What is trained on and what is held out.

    Attributes:
        train: COCO file.
        held_out: COCO file.
        images: folder of the images of both.
        has_masks: whether some of the labelled objects to train on have masks.
        has_keypoints: whether some have keypoints.
        measures_keypoints: whether some held-out objects have them as well.
        records: to train on: the images, and once more those with keypoints.
    """

    train: Path
    held_out: Path
    images: Path
    has_masks: bool
    has_keypoints: bool
    measures_keypoints: bool
    records: int


def prepare_data(
    data: Path, images: Path | None, held_out: Path | None, folder: Path, *, seed: int
) -> FinetuneData:
    """Look at a COCO file, and split images off it where no others are held out.

    Args:
        data: COCO file.
        images: folder of its images; None takes `images` beside the file, else its own folder.
        held_out: COCO file of other images in the same folder, or None.
        folder: of the run, where the two parts are written; the same seed gives the same parts, and
            those of an interrupted run stay.
        seed: of the split.

    Raises:
        ConfigError: if the folder has an interrupted run on other data.
        InputError: if a file cannot be read, or there is nothing to train or to measure on.
    """
    document = _read(data)
    found = find_images(data, images)
    if not found.is_dir():
        raise InputError(f"there is no folder of images at {found}; check --images")
    identity = _identify(data, held_out, seed)
    is_known = _check_same_data(identity, folder)
    train = data
    if held_out is not None:
        away = _read(held_out)
    else:
        train, held_out = folder / "train.json", folder / "held_out.json"
        if is_known and train.is_file() and held_out.is_file():
            document, away = _read(train), _read(held_out)
        else:
            document, away = split_document(document, HELD_OUT_SHARE, seed=seed)
            _write(document, train)
            _write(away, held_out)
    _check_annotated(away)
    # Last, as it says that the parts are there.
    _write(identity, folder / DATA_FILE)
    posed = _find_posed(document)
    found_data = FinetuneData(
        train.resolve(),
        held_out.resolve(),
        found.resolve(),
        has_masks=any(
            isinstance(row, Mapping) and row.get("segmentation") for row in document["annotations"]
        ),
        has_keypoints=bool(posed),
        measures_keypoints=bool(posed) and bool(_find_posed(away)),
        records=len(document["images"]) + len(posed),
    )
    if found_data.has_keypoints and not found_data.measures_keypoints:
        logger.warning(
            "none of the %d held-out images has keypoints, so they are trained and not measured",
            len(away["images"]),
        )
    return found_data


def _check_annotated(away: Mapping[str, Any]) -> None:
    if not away["annotations"]:
        raise InputError(
            f"none of the {len(away['images'])} held-out images has an annotation, so nothing "
            "could be measured; name annotated ones with --val"
        )


def _check_same_data(now: Mapping[str, Any], folder: Path) -> bool:
    """Return whether the folder's parts are of these files.

    Raises:
        ConfigError: that lists what differs, if the folder has an interrupted run on others.
    """
    path = folder / DATA_FILE
    if not path.is_file():
        return False
    before = read_json_object(path, ConfigError, max_bytes=_MAX_FILE_BYTES, advice="delete it")
    differences = [
        f"  {key}: {shorten(before.get(key))} before, {shorten(value)} now"
        for key, value in now.items()
        if before.get(key) != value
    ]
    if differences and (folder / STATE_FILE).exists():
        listed = "\n".join(differences)
        raise ConfigError(
            f"{folder} has an interrupted run on other data:\n{listed}\nresume it with the same "
            "files, or choose another --out"
        )
    return not differences


def _identify(data: Path, held_out: Path | None, seed: int) -> dict[str, Any]:
    """Return what the parts of a run depend on."""
    files = {"sha256 of --data": data, "sha256 of --val": held_out}
    digests = {
        name: None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files.items()
    }
    return {**digests, "seed": seed}


def _find_id(row: Any, name: str) -> Any:
    """Return an id of a row; None where it has none that others could name."""
    value = row.get(name) if isinstance(row, Mapping) else None
    return value if isinstance(value, int | float | str) else None


def _find_posed(document: Mapping[str, Any]) -> set[Any]:
    """Return the ids of the images some object of which has keypoints that can be used."""
    classes = {
        _find_id(row, "id")
        for row in document["categories"]
        if isinstance(row, Mapping) and row.get("keypoints")
    } - {None}
    images = {_find_id(row, "id") for row in document["images"]} - {None}
    posed = {
        _find_id(row, "image_id")
        for row in document["annotations"]
        if _find_id(row, "category_id") in classes and _is_posed(row.get("keypoints"))
    }
    return posed & images


def _is_posed(keypoints: Any) -> bool:
    return isinstance(keypoints, list) and any(
        isinstance(one, int | float) and one > 0 for one in keypoints[2::3]
    )


def split_document(
    document: Mapping[str, Any], share: float, *, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the images of a COCO document at random, annotations with their images.

    Of images with keypoints the same share is held out, one at least where there are two. Whatever
    is not of a held-out image is kept for training, bad rows among it, which its source reports.

    Args:
        document: with images and annotations.
        share: of the images that are held out; at least one is.
        seed: of the split.

    Returns:
        What is kept for training, and what is held out.

    Raises:
        InputError: if there are fewer than two images.
    """
    found = (_find_id(row, "id") for row in document["images"])
    ids = [one for one in dict.fromkeys(found) if one is not None]
    if len(ids) < 2:
        raise InputError(
            f"expected two images at least, one of which is held out; got {len(ids)}: add "
            "images, or name held-out ones with --val"
        )
    away = _choose_held_out(ids, _find_posed(document), share, seed)
    parts: list[dict[str, Any]] = []
    for is_away in (False, True):
        rows = {
            section: [row for row in document[section] if (_find_id(row, name) in away) is is_away]
            for section, name in (("images", "id"), ("annotations", "image_id"))
        }
        parts.append({**document, **rows})
    return parts[0], parts[1]


def _choose_held_out(ids: Sequence[Any], posed: set[Any], share: float, seed: int) -> set[Any]:
    order = np.random.default_rng(seed).permutation(len(ids))
    with_points = [ids[index] for index in order if ids[index] in posed]
    without = [ids[index] for index in order if ids[index] not in posed]
    count = min(len(ids) - 1, max(1, round(share * len(ids))))
    of_points = 0
    if len(with_points) > 1:
        of_points = min(len(with_points) - 1, max(1, round(share * len(with_points))))
    return {*with_points[:of_points], *without[: count - of_points]}


def complete_recipe(recipe: Recipe, data: FinetuneData, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe with its sources, and measured at `POINTS` steps unless it says when.

    With keypoints the pose decoder is trained, and the best checkpoint is by `pck`, each where the
    recipe has the value of the package's and no change gives it.

    Args:
        recipe: of the objective `conversations`, without sources.
        data: what is trained on and what is held out.
        changes: that were made to the recipe, written `key=value`.

    Raises:
        ConfigError: if the recipe is of another objective or has sources of its own.
    """
    if not isinstance(recipe.options, ConversationSettings) or recipe.sources:
        raise ConfigError(
            "--data goes with a recipe of the objective conversations that has no sources of its "
            "own, such as finetune"
        )
    packaged, changed = read_recipe(RECIPE), {one.partition("=")[0] for one in changes}
    trained, best = recipe.trained, recipe.evaluation.best_by
    if data.has_keypoints and trained == packaged.trained and "trained" not in changed:
        trained = (*trained, DECODER_PARTS[Group.POSE])
    if (
        data.measures_keypoints
        and best == packaged.evaluation.best_by
        and changed.isdisjoint(("evaluation", "evaluation.best_by"))
    ):
        best = "pck"
    evaluation = replace(
        recipe.evaluation,
        every=recipe.evaluation.every or max(1, _count_steps(recipe, data) // POINTS),
        best_by=best,
    )
    return replace(
        recipe, sources=tuple(_list_sources(data)), trained=trained, evaluation=evaluation
    )


def _list_sources(data: FinetuneData) -> list[dict[str, Any]]:
    boxes = {
        **{"kind": "coco_instances", "masks": data.has_masks, "weight": 1.0},
        "max_classes": _MOST_CLASSES,
    }
    poses = {"kind": "coco_keypoints", "weight": _POSE_WEIGHT, "max_classes": _MOST_CLASSES}
    chosen = [(boxes, False), (boxes, True)]
    if data.has_keypoints:
        chosen.append((poses, False))
    if data.measures_keypoints:
        chosen.append((poses, True))
    return [
        {
            **settings,
            "annotations": str(data.held_out if is_held_out else data.train),
            "images": str(data.images),
            "held_out": is_held_out,
        }
        for settings, is_held_out in chosen
    ]


def _count_steps(recipe: Recipe, data: FinetuneData) -> int:
    """Return the steps of the run, as if no record were bad."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    return count_steps(
        recipe.steps,
        recipe.epochs,
        range(-(-data.records // recipe.batch)),
        processes * recipe.accumulation,
    )


def _write(document: Mapping[str, Any], path: Path) -> None:
    """Write a file that other processes of the run write as well, the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(document), encoding="utf-8")
    part.replace(path)


def _read(path: Path) -> dict[str, Any]:
    document = read_json_object(
        path, InputError, max_bytes=_MAX_FILE_BYTES, advice="expected COCO's format"
    )
    for name in ("images", "annotations", "categories"):
        check_list(f"{path}: {name}", document.get(name), most=_MOST_ROWS, error=InputError)
    return document
