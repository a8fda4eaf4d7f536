from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vl2_ros.errors import InputError, SimulationError
from vl2_ros.sim.household.catalogue import read_catalogues
from vl2_ros.sim.household.furniture import load_furniture
from vl2_ros.sim.household.simplify import simplify
from vl2_ros.sim.household.wavefront import Part, Surface, parse_materials, parse_object


def test_entries_have_metres_names_and_authors(catalogues: Path) -> None:
    entries = read_catalogues(catalogues)
    assert list(entries) == ["Tiny#red", "Tiny#turned"]
    entry = entries["Tiny#red"]
    np.testing.assert_allclose(entry.size_m, [0.4, 0.2, 1.0])
    assert (entry.name, entry.creator) == ("Boîte", "A. Author")
    np.testing.assert_allclose(entries["Tiny#turned"].rotation @ [0, 0, 1], [1, 0, 0])


def test_a_missing_package_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="apt-get install sweethome3d-furniture"):
        read_catalogues(tmp_path)


def test_a_damaged_catalogue_is_named(tmp_path: Path) -> None:
    (tmp_path / "Broken.sh3f").write_bytes(b"no archive")
    with pytest.raises(SimulationError, match=r"Broken\.sh3f is no catalogue"):
        read_catalogues(tmp_path)


def test_a_model_stands_on_the_floor_with_its_size_and_colour(catalogues: Path) -> None:
    model = load_furniture(read_catalogues(catalogues)["Tiny#red"], budget=100, max_parts=8)
    np.testing.assert_allclose(model.size, [0.4, 0.2, 1.0], atol=1e-6)
    (part,) = model.parts
    assert part.surface.rgb == (1.0, 0.0, 0.0)
    np.testing.assert_allclose(part.vertices.min(axis=0), [-0.2, -0.1, 0.0], atol=1e-6)
    assert model.support is not None
    assert model.support.height == pytest.approx(1.0)
    np.testing.assert_allclose(model.support.center, 0.0, atol=1e-6)


def test_loading_from_the_cache_gives_the_same(catalogues: Path, tmp_path: Path) -> None:
    entry = read_catalogues(catalogues)["Tiny#turned"]
    first = load_furniture(entry, budget=100, max_parts=8, cache=tmp_path / "cache")
    entry.archive.unlink()
    again = load_furniture(entry, budget=100, max_parts=8, cache=tmp_path / "cache")
    np.testing.assert_array_equal(again.parts[0].vertices, first.parts[0].vertices)
    assert again.parts[0].surface == first.parts[0].surface
    assert list(again.textures) == ["grey.png"]
    np.testing.assert_array_equal(again.textures["grey.png"], first.textures["grey.png"])


def test_faces_of_all_forms_become_triangles() -> None:
    text = (
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\n"
        "usemtl a\nf 1/1 2/2 3/3\nusemtl b\nf -4 -3 -2 -1\nf 1//1 2//1 3//1\n"
    )
    materials = parse_materials("newmtl a\nKd .9 .9 .9\nmap_Kd x.png\nnewmtl b\nKd 0 1 0\nd 0.5\n")
    textured, plain = parse_object(text, materials)
    assert (len(textured.faces), len(plain.faces)) == (1, 3)
    np.testing.assert_allclose(sorted(map(tuple, textured.uvs)), [(0, 0), (1, 0), (1, 1)])
    assert plain.surface == Surface((0.0, 1.0, 0.0), 0.5)


@pytest.mark.parametrize("face", ["f 1 2 9", "f 1 2 x", "f 1/4 2/1 3/1", "f -9 1 2"])
def test_a_wrong_face_is_refused(face: str) -> None:
    with pytest.raises(InputError):
        parse_object(f"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\n{face}\n", {})


def test_simplifying_keeps_the_budget_the_shape_and_most_sides() -> None:
    side = 40
    angles = np.linspace(0, 2 * np.pi, side, endpoint=False)
    heights = np.linspace(-0.95, 0.95, side)
    rings = np.array(
        [
            (np.sqrt(1 - h * h) * np.cos(a), np.sqrt(1 - h * h) * np.sin(a), h)
            for h in heights
            for a in angles
        ]
    )
    faces = []
    for row in range(side - 1):
        for column in range(side):
            a, b = row * side + column, row * side + (column + 1) % side
            faces += [(a, b, b + side), (a, b + side, a + side)]
    ball = Part(rings, np.zeros((len(rings), 2)), np.array(faces), Surface((1, 1, 1)))
    small = simplify(ball, 400)
    assert 100 < len(small.faces) <= 400
    assert np.abs(np.linalg.norm(small.vertices, axis=1) - 1.0).max() < 0.1
    a, b, c = (small.vertices[small.faces[:, i]] for i in range(3))
    assert ((np.cross(b - a, c - a) * (a + b + c)).sum(axis=1) > 0).mean() > 0.95
    assert simplify(ball, len(faces)) is ball
