"""A tiny catalogue of boxes in the form of Debian's, and where the real one is."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from vl2_ros.sim.household.catalogue import PACKAGE_FOLDER
from vl2_ros.sim.household.furniture import Furniture
from vl2_ros.sim.household.kinds import Room
from vl2_ros.sim.household.pool import Pool, PooledModel
from vl2_ros.sim.household.wavefront import Part, Surface

CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
SIDES = ("1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4")


def box_text(material: str) -> str:
    """An OBJ text of a unit cube in one material."""
    points = "".join(f"v {x} {y} {z}\n" for x, y, z in CORNERS)
    faces = "".join(f"f {side}\n" for side in SIDES)
    return f"mtllib box.mtl\n{points}usemtl {material}\n{faces}"


@pytest.fixture
def catalogues(tmp_path: Path) -> Path:
    """A folder with one catalogue of two boxes, of which the second is turned."""
    folder = tmp_path / "furniture"
    folder.mkdir()
    fields = {
        "id": ("Tiny#red", "Tiny#turned"),
        "name": ("Bo\\u00eete", "Turned box"),
        "model": ("/tiny/red.obj", "/tiny/turned.obj"),
        "width": ("40", "40"),
        "depth": ("20", "20"),
        "height": ("100", "100"),
        "creator": ("A. Author", "B. Author"),
    }
    lines = [f"{key}#{i + 1}={pair[i]}" for key, pair in fields.items() for i in range(2)]
    lines.append("modelRotation#2=0 0 1 0 1 0 -1 0 0")
    _, png = cv2.imencode(".png", np.full((4, 4, 3), 128, np.uint8))
    with zipfile.ZipFile(folder / "Tiny.sh3f", "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", "\n".join(lines))
        archive.writestr("tiny/red.obj", box_text("red"))
        archive.writestr("tiny/turned.obj", box_text("image"))
        archive.writestr(
            "tiny/box.mtl",
            "newmtl red\nKd 1 0 0\nnewmtl image\nKd 0.9 0.9 0.9\nmap_Kd grey.png\n"
            "newmtl lost\nKd 0.1 0.2 0.3\nmap_Kd lost.png\n",
        )
        archive.writestr("tiny/grey.png", png.tobytes())
    return folder


def make_box(kind: str, size: tuple[float, float, float], identifier: str = "box") -> PooledModel:
    """A model of one plain box that stands on z = 0."""
    low, high = np.array([-0.5, -0.5, 0.0]) * size, np.array([0.5, 0.5, 1.0]) * size
    vertices = np.where(np.array(CORNERS) == 0, low, high)
    quads = [[int(word) - 1 for word in side.split()] for side in SIDES]
    faces = np.array([tri for a, b, c, d in quads for tri in ((a, b, c), (a, c, d))])
    part = Part(vertices, np.zeros((8, 2)), faces, Surface((0.6, 0.6, 0.6)))
    axes = np.repeat(np.eye(3), 2, axis=0) * np.tile([[-1.0], [1.0]], (3, 1))
    normals = np.tile(axes, (20, 1))
    middle = np.array([0.0, 0.0, 0.5 * size[2]])
    return PooledModel(
        kind,
        identifier,
        Furniture(
            size=np.array(size),
            parts=(part,),
            textures={},
            areas=np.ones(1),
            support=None,
            samples=middle + 0.5 * normals * size,
            normals=normals,
        ),
        1.0,
    )


@pytest.fixture
def pool() -> Pool:
    """A living room of boxes."""
    sizes = {
        "couch": (1.8, 0.8, 0.8),
        "dining table": (1.2, 0.8, 0.75),
        "chair": (0.45, 0.45, 0.9),
        "person": (0.5, 0.3, 1.7),
        "cup": (0.08, 0.08, 0.1),
        "distractor": (0.3, 0.3, 0.3),
    }
    return Pool(Room.LIVING, tuple(make_box(kind, size) for kind, size in sizes.items()))


@pytest.fixture(scope="session")
def real_catalogues() -> Path:
    """The folder of Debian's package, which VL2_HOUSEHOLD may name; skips where it is not there."""
    folder = Path(os.environ.get("VL2_HOUSEHOLD", PACKAGE_FOLDER))
    if not list(folder.glob("*.sh3f")):
        pytest.skip("sweethome3d-furniture is not installed, and VL2_HOUSEHOLD names no copy of it")
    return folder
