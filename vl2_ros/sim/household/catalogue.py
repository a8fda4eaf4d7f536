"""Read the catalogues of Debian's `sweethome3d-furniture`: names, sizes and credits of its models.

A catalogue is a zip archive with a Java properties file that numbers its entries. Knows no mesh.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vl2_ros.errors import SimulationError

PACKAGE_FOLDER = Path("/usr/share/sweethome3d/furniture")
INSTALL_HINT = (
    "install the models with `apt-get install sweethome3d-furniture`, or unpack them without root "
    "with `apt-get download sweethome3d-furniture && dpkg -x sweethome3d-furniture_*.deb FOLDER` "
    "and name FOLDER/usr/share/sweethome3d/furniture"
)
_PROPERTIES = "PluginFurnitureCatalog.properties"
_FIELD = re.compile(r"(\w+)#(\d+)=(.*)")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass(frozen=True, slots=True, eq=False)
class CatalogueEntry:
    """One model of a catalogue.

    Attributes:
        identifier: unique over all catalogues.
        name: English words.
        size_m: (3,) width, depth and height in metres.
        rotation: (3, 3) turns the vertices of the file (y up, front towards +z) before they are
            scaled to the size.
        archive: the catalogue.
        model_path: of the OBJ file inside the archive.
        creator: author of the model.
    """

    identifier: str
    name: str
    size_m: np.ndarray
    rotation: np.ndarray
    archive: Path
    model_path: str
    creator: str


def read_catalogues(folder: Path | None = None) -> dict[str, CatalogueEntry]:
    """Read every catalogue of a folder.

    Args:
        folder: with `*.sh3f` files; where Debian's package installs them by default.

    Raises:
        SimulationError: if there is none, or one cannot be read.
    """
    folder = PACKAGE_FOLDER if folder is None else folder
    archives = sorted(folder.glob("*.sh3f"))
    if not archives:
        raise SimulationError(f"expected *.sh3f catalogues in {folder}, found none; {INSTALL_HINT}")
    return {entry.identifier: entry for path in archives for entry in _read_archive(path)}


def _read_archive(path: Path) -> list[CatalogueEntry]:
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(_PROPERTIES).decode("latin-1")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SimulationError(
            f"{path} is no catalogue of models ({error}); {INSTALL_HINT}"
        ) from error
    numbered: dict[int, dict[str, str]] = {}
    for line in text.splitlines():
        if match := _FIELD.match(line):
            numbered.setdefault(int(match[2]), {})[match[1]] = match[3].strip()
    try:
        return [_make_entry(path, fields) for _, fields in sorted(numbered.items())]
    except (KeyError, ValueError) as error:
        raise SimulationError(
            f"{path} has an entry without a usable field ({error}); {INSTALL_HINT}"
        ) from error


def _make_entry(path: Path, fields: dict[str, str]) -> CatalogueEntry:
    size_cm = [float(fields[name]) for name in ("width", "depth", "height")]
    turn = [float(word) for word in fields.get("modelRotation", "1 0 0 0 1 0 0 0 1").split()]
    return CatalogueEntry(
        identifier=fields["id"],
        name=_unescape(fields["name"]),
        size_m=np.array(size_cm) / 100.0,
        rotation=np.array(turn).reshape(3, 3),
        archive=path,
        model_path=fields["model"].lstrip("/"),
        creator=_unescape(fields.get("creator", "")),
    )


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
