"""The kinds of sources, and how settings of a recipe open them."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl2_ros.datasets.household.shards import SHARD_SETTINGS
from vl2_ros.datasets.reading.expressions import EXPRESSION_FIELDS
from vl2_ros.datasets.reading.json_records import LINE_ENDINGS, JsonRecords
from vl2_ros.datasets.reading.label_files import list_image_files
from vl2_ros.datasets.sources.chat import Chat
from vl2_ros.datasets.sources.coco_instances import CocoInstances, CocoInstancesOptions
from vl2_ros.datasets.sources.coco_keypoints import CocoKeypoints, CocoKeypointsOptions
from vl2_ros.datasets.sources.grounded_captions import GroundedCaptionOptions, GroundedCaptions
from vl2_ros.datasets.sources.household import Household, HouseholdOptions
from vl2_ros.datasets.sources.image_text import EditOptions, Edits, ImageCaptions, TextToImage
from vl2_ros.datasets.sources.in_context import (
    InContext,
    InContextOptions,
    InContextText,
    InContextTextOptions,
)
from vl2_ros.datasets.sources.interactive import Interactive, InteractiveOptions
from vl2_ros.datasets.sources.label_images import LabelImages, LabelImagesOptions
from vl2_ros.datasets.sources.labelled_source import LabelledSource, SourceOptions
from vl2_ros.datasets.sources.record_list import RecordListOptions, list_images
from vl2_ros.datasets.sources.referring import Referring, ReferringOptions
from vl2_ros.datasets.sources.region_text import RegionCaptionOptions, RegionCaptions, RegionChat
from vl2_ros.datasets.sources.simulator import Simulator, SimulatorOptions
from vl2_ros.datasets.tabletop import CACHE_SETTINGS
from vl2_ros.documents import check_kind, shorten
from vl2_ros.errors import ConfigError, InputError

#: Records of a list that are looked at to find out the kind of a set.
_LOOKED_AT = 2000
#: Lists of a COCO file.
_SECTIONS = ("images", "annotations")


@dataclass(frozen=True, slots=True)
class SourceKind:
    """One kind of source.

    Attributes:
        source: its class, called with the options.
        options: their class; its fields are what a recipe may set.
        reads: what it reads, for people.
    """

    source: type[Any]
    options: type[SourceOptions]
    reads: str


SOURCE_KINDS: Mapping[str, SourceKind] = {
    "coco_instances": SourceKind(
        CocoInstances, CocoInstancesOptions, "COCO file: boxes, masks where there are some"
    ),
    "coco_keypoints": SourceKind(
        CocoKeypoints, CocoKeypointsOptions, "COCO file: keypoints of any names"
    ),
    "referring": SourceKind(
        Referring, ReferringOptions, "COCO file with expressions of images or annotations"
    ),
    "chat": SourceKind(Chat, RecordListOptions, "list of {image, conversations}, as LLaVA's"),
    "region_captions": SourceKind(
        RegionCaptions, RegionCaptionOptions, "COCO file with captions, or category names"
    ),
    "region_chat": SourceKind(
        RegionChat, RecordListOptions, "list of {image, regions, conversations}"
    ),
    "label_images": SourceKind(
        LabelImages, LabelImagesOptions, "folder of label images, class numbers as pixels"
    ),
    "interactive": SourceKind(
        Interactive, InteractiveOptions, "COCO file with masks, which marks are made from"
    ),
    "in_context": SourceKind(
        InContext, InContextOptions, "COCO file with masks, of which examples are made"
    ),
    "in_context_text": SourceKind(
        InContextText, InContextTextOptions, "COCO file with captions, which examples come before"
    ),
    "grounded_captions": SourceKind(
        GroundedCaptions, GroundedCaptionOptions, "COCO file: captions whose phrases have boxes"
    ),
    "text_to_image": SourceKind(
        TextToImage, RecordListOptions, "list of {image, caption}, or COCO captions"
    ),
    "image_captions": SourceKind(
        ImageCaptions, RecordListOptions, "list of {image, caption}, or COCO captions"
    ),
    "edits": SourceKind(Edits, EditOptions, "list of {source, target, instruction}"),
    "simulator": SourceKind(
        Simulator, SimulatorOptions, "nothing, a cache of frames, or tar shards"
    ),
    "household": SourceKind(Household, HouseholdOptions, "tar shards of household scenes"),
}


def open_source(settings: Mapping[str, Any], base_folder: Path) -> LabelledSource:
    """Open a source, and log what of it is bad.

    Args:
        settings: `kind` and the options of its class.
        base_folder: what relative paths start from.

    Raises:
        ConfigError: if the kind or an option is unknown, missing or of a wrong type, or no record
            can be used.
        InputError: of a bad record, if the source is strict.
    """
    source = read_source(settings, base_folder)
    source.report.log()
    if not len(source):
        reasons = "; ".join(source.report.list_warnings()) or "it is empty"
        raise ConfigError(f"{source.name} has no record that can be used: {reasons}")
    return source


def read_source(settings: Mapping[str, Any], base_folder: Path) -> LabelledSource:
    """Open a source that may have no usable record; see `open_source`."""
    kind = settings.get("kind")
    if not isinstance(kind, str) or kind not in SOURCE_KINDS:
        raise ConfigError(f"kind must be one of {', '.join(SOURCE_KINDS)}, got {shorten(kind)}")
    entry = SOURCE_KINDS[kind]
    known = {item.name: item for item in dataclasses.fields(entry.options)}
    values = {}
    for name, value in settings.items():
        if name == "kind":
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(
                f"{kind} has no option {name!r}; {hint}expected some of {', '.join(known)}"
            )
        values[name] = _read_option(f"{kind}: {name}", value, str(known[name].type), base_folder)
    missing = [
        name
        for name, item in known.items()
        if item.default is dataclasses.MISSING and name not in values
    ]
    if missing:
        raise ConfigError(f"{kind} needs {', '.join(missing)}; set them in the recipe")
    source: LabelledSource = entry.source(entry.options(**values))
    return source


def _read_option(name: str, value: Any, kind: str, base_folder: Path) -> Any:
    if kind.startswith("Path"):
        if value is None and kind.endswith("None"):
            return None
        if not isinstance(value, str | Path) or not str(value):
            raise ConfigError(f"{name} must be a path, got {shorten(value)}")
        return base_folder / value
    check_kind(name, value, kind)
    if kind == "float":
        return float(value)
    return tuple(value) if kind.startswith("tuple") else value


def name_path(kind: str) -> str:
    """Return the option of a kind that says where its set is."""
    known = SOURCE_KINDS.get(kind, SOURCE_KINDS["chat"]).options
    names = [item.name for item in dataclasses.fields(known)]
    return "annotations" if "annotations" in names else "path"


def guess_kind(path: Path) -> str:
    """Return the kind of a set by what it contains.

    Args:
        path: of an index file or a folder.

    Raises:
        InputError: if it is none that is known.
    """
    if path.is_dir():
        if (path / SHARD_SETTINGS).is_file():
            return "household"
        if (path / CACHE_SETTINGS).is_file() or any(path.glob("*.tar")):
            return "simulator"
        if list_image_files(path):
            return "label_images"
        raise InputError(
            f"{path} has no label images, no tar files and is no cache; give the index file of "
            "the set, or --kind"
        )
    if path.suffix == ".tar":
        return "simulator"
    return _guess_by_records(path)


def _guess_by_records(path: Path) -> str:
    is_list = path.suffix.lower() in LINE_ENDINGS
    seen: Counter[str] = Counter()
    for record in JsonRecords(path, max_bytes=path.stat().st_size if path.is_file() else 0).scan():
        row = record.value
        seen[record.section] += 1
        if all(seen[section] > _LOOKED_AT for section in _SECTIONS):
            break
        if seen[record.section] > _LOOKED_AT or not isinstance(row, dict):
            continue
        if is_list or record.section == "":
            kind = _guess_of_list(row)
            if kind:
                return kind
        elif record.section in _SECTIONS:
            if "caption" in row and "image_id" in row and "bbox" not in row:
                return "text_to_image"
            if any(name in row for name in EXPRESSION_FIELDS):
                return "referring" if _is_referring(record.section, row) else "region_captions"
            if row.get("keypoints"):
                return "coco_keypoints"
    if all(seen[section] for section in _SECTIONS):
        return "coco_instances"
    raise InputError(
        f"{path} is of no known kind: expected a COCO file, or a list of records with image and "
        f"caption, image and conversations, or source, target and instruction; give --kind, one "
        f"of {', '.join(SOURCE_KINDS)}"
    )


def _is_referring(section: str, row: Mapping[str, Any]) -> bool:
    return section == "images" or any(
        name in row for name in ("expressions", "sentences", "question")
    )


def _guess_of_list(row: Mapping[str, Any]) -> str:
    if "instruction" in row and "target" in row:
        return "edits"
    if "conversations" in row or "messages" in row:
        return "region_chat" if "regions" in row else "chat"
    return "text_to_image" if "caption" in row and list_images(row) else ""
