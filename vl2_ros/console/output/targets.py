"""Checks of the files and folders that are to be written, before work is done for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vl2_ros.errors import InputError

if TYPE_CHECKING:
    from vl2_ros.sources.source import Source


def check_target(option: str, path: Path, *, force: bool) -> None:
    """Check that a file can be made, before work is done for it.

    Raises:
        InputError: if it is there and not to be replaced, a folder, or in a folder that is not
            there.
    """
    if path.is_dir() or (path.exists() and not force):
        advice = "" if path.is_dir() else ", or add --force to replace it"
        raise InputError(f"{option}: {path} is there already; name another file{advice}")
    if not path.resolve().parent.is_dir():
        raise InputError(
            f"{option}: {path} lies in a folder that is not there; make {path.resolve().parent}"
        )


def check_numbered(option: str, path: Path) -> None:
    """Check that no numbered file of a name, such as `found_0.png` of `found.png`, is there.

    Raises:
        InputError: if one is.
    """
    pattern = re.compile(re.escape(path.stem) + r"_[0-9]+" + re.escape(path.suffix))
    for other in path.resolve().parent.iterdir():
        if pattern.fullmatch(other.name):
            raise InputError(
                f"{option}: {path.with_name(other.name)} is there already; name another file, or "
                "add --force to replace it"
            )


def check_targets(targets: Mapping[str, Path | None], sources: Sequence[Source]) -> None:
    """Check that no target is another one, and that none is what is read, even with --force.

    Args:
        targets: option -> its file or folder; None where it is not given.
        sources: what is read.

    Raises:
        InputError: if two are the same, or a source would be replaced.
    """
    taken: dict[Path, str] = {}
    for option, path in targets.items():
        if path is None:
            continue
        other = taken.setdefault(path.resolve(), option)
        if other != option:
            raise InputError(f"{other} and {option} are the same file {path}; name two")
    read = {file.resolve() for source in sources for file in source.local_files}
    for place, option in taken.items():
        if place in read or place in {file.parent for file in read if place.is_dir()}:
            raise InputError(f"{option}: {targets[option]} holds what is read; name another place")


def check_label_names(sources: Sequence[Source]) -> None:
    """Check that no two sources share a label file of YOLO.

    Raises:
        InputError: if two do.
    """
    from vl2_ros.views.formats.yolo import name_label

    names: dict[str, Path] = {}
    for file in (file for source in sources for file in source.local_files):
        name = name_label(str(file))
        if names.setdefault(name, file) != file:
            raise InputError(
                f"{file} and {names[name]} would share labels/{name}.txt; ask about them in calls "
                "of their own"
            )
