"""Complete the recipe `finetune` for a COCO file: sources, held-out images, when to measure."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.datasets.reading.image_folder import find_images
from vl2_ros.datasets.samples import Group
from vl2_ros.documents import check_list, read_json_object
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.training.conversations.objective import DECODER_PARTS
from vl2_ros.training.conversations.settings import ConversationSettings
from vl2_ros.training.recipes.recipe import Recipe

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
    """

    train: Path
    held_out: Path
    images: Path
    has_masks: bool
    has_keypoints: bool


def prepare_data(
    data: Path, images: Path | None, held_out: Path | None, folder: Path, *, seed: int
) -> FinetuneData:
    """Look at a COCO file, and split images off it where no others are held out.

    Args:
        data: COCO file.
        images: folder of its images; None takes `images` beside the file, else its own folder.
        held_out: COCO file of other images in the same folder, or None.
        folder: of the run, where the two parts are written; the same seed gives the same parts.
        seed: of the split.

    Raises:
        InputError: if a file cannot be read, or there is nothing to train or to measure on.
    """
    document = _read(data)
    found = find_images(data, images)
    if not found.is_dir():
        raise InputError(f"there is no folder of images at {found}; check --images")
    train = data
    if held_out is None:
        train, held_out = folder / "train.json", folder / "held_out.json"
        kept, away = split_document(document, HELD_OUT_SHARE, seed=seed)
        folder.mkdir(parents=True, exist_ok=True)
        for path, part in ((train, kept), (held_out, away)):
            _write(part, path)
        document = kept
    else:
        away = _read(held_out)
    if not away["annotations"]:
        raise InputError(
            f"none of the {len(away['images'])} held-out images has an annotation, so nothing "
            "could be measured; name annotated ones with --val"
        )
    rows = [row for row in document["annotations"] if isinstance(row, Mapping)]
    return FinetuneData(
        train.resolve(),
        held_out.resolve(),
        found.resolve(),
        has_masks=any(row.get("segmentation") for row in rows),
        has_keypoints=any(row.get("keypoints") for row in rows)
        and any(
            isinstance(row, Mapping) and row.get("keypoints") for row in document["categories"]
        ),
    )


def split_document(
    document: Mapping[str, Any], share: float, *, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the images of a COCO document at random, annotations with their images.

    Args:
        document: with images and annotations.
        share: of the images that are held out; at least one is.
        seed: of the split.

    Returns:
        What is kept for training, and what is held out.

    Raises:
        InputError: if there are fewer than two images.
    """
    images = document["images"]
    if len(images) < 2:
        raise InputError(
            f"expected two images at least, one of which is held out; got {len(images)}: add "
            "images, or name held-out ones with --val"
        )
    count = min(len(images) - 1, max(1, round(share * len(images))))
    chosen = set(np.random.default_rng(seed).permutation(len(images))[:count].tolist())
    parts = []
    for is_away in (False, True):
        rows = [row for index, row in enumerate(images) if (index in chosen) is is_away]
        ids = {row.get("id") for row in rows if isinstance(row, Mapping)}
        labels = [
            row
            for row in document["annotations"]
            if isinstance(row, Mapping) and row.get("image_id") in ids
        ]
        parts.append({**document, "images": rows, "annotations": labels})
    return parts[0], parts[1]


def complete_recipe(recipe: Recipe, data: FinetuneData) -> Recipe:
    """Return the recipe with its sources, and measured at `POINTS` steps unless it says when.

    Args:
        recipe: of the objective `conversations`, without sources.
        data: what is trained on and what is held out.

    Raises:
        ConfigError: if the recipe is of another objective or has sources of its own.
    """
    if not isinstance(recipe.options, ConversationSettings) or recipe.sources:
        raise ConfigError(
            "--data goes with a recipe of the objective conversations that has no sources of its "
            "own, such as finetune"
        )
    kinds: dict[str, dict[str, Any]] = {
        "coco_instances": {"masks": data.has_masks, "weight": 1.0, "max_classes": _MOST_CLASSES}
    }
    trained, best = recipe.trained, recipe.evaluation.best_by
    if data.has_keypoints:
        kinds["coco_keypoints"] = {"weight": _POSE_WEIGHT, "max_classes": _MOST_CLASSES}
        trained, best = (*trained, DECODER_PARTS[Group.POSE]), "pck"
    sources = [
        {
            **{"kind": kind, "annotations": str(path), "images": str(data.images)},
            **{"held_out": path == data.held_out, **settings},
        }
        for kind, settings in kinds.items()
        for path in (data.train, data.held_out)
    ]
    evaluation = replace(
        recipe.evaluation,
        every=recipe.evaluation.every or max(1, recipe.steps // POINTS),
        best_by=best,
    )
    return replace(recipe, sources=tuple(sources), trained=trained, evaluation=evaluation)


def _write(document: Mapping[str, Any], path: Path) -> None:
    """Write a file that other processes of the run write as well, the same."""
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
