"""Parse Wavefront OBJ and MTL texts into triangles per material.

Knows no file system and no units. Normals are not read: the renderer makes its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vl2_ros.errors import InputError


@dataclass(frozen=True, slots=True)
class Surface:
    """How a material looks.

    Attributes:
        rgb: diffuse colour in 0..1.
        alpha: opacity in 0..1.
        shine: specular strength in 0..1.
        texture: file name of an image that multiplies the colour, or empty.
    """

    rgb: tuple[float, float, float]
    alpha: float = 1.0
    shine: float = 0.0
    texture: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Triangles of one material.

    Attributes:
        vertices: (V, 3).
        uvs: (V, 2) texture coordinates, v upwards; zeros without a texture.
        faces: (F, 3) indices into both.
        surface: the material.
    """

    vertices: np.ndarray
    uvs: np.ndarray
    faces: np.ndarray
    surface: Surface


PLAIN = Surface((0.8, 0.8, 0.8))


@dataclass(slots=True)
class _Lists:
    points: list[tuple[float, float, float]] = field(default_factory=list)
    uvs: list[tuple[float, float]] = field(default_factory=list)
    corners: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


def parse_materials(text: str) -> dict[str, Surface]:
    """Parse an MTL text into surfaces by name; unknown statements are ignored."""
    fields: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2:
            continue
        if words[0] == "newmtl":
            current = fields.setdefault(" ".join(words[1:]), {})
        else:
            current[words[0]] = words[1:]
    return {name: _make_surface(values) for name, values in fields.items()}


def _make_surface(values: dict[str, list[str]]) -> Surface:
    red, green, blue = (float(word) for word in values.get("Kd", ["0.8"] * 3)[:3])
    texture = " ".join(values.get("map_Kd", [])).replace("\\", "/").split("/")[-1]
    if texture and max(red, green, blue) < 0.7:
        # Exporters write the colour under a texture as well and mean the texture alone.
        red = green = blue = 0.95
    shine = float(np.mean([float(word) for word in values.get("Ks", ["0"])[:3]]))
    alpha = float(values.get("d", ["1"])[0])
    return Surface((red, green, blue), alpha, min(shine, 1.0), texture)


def parse_object(text: str, materials: dict[str, Surface]) -> list[Part]:
    """Parse an OBJ text into one part per surface; polygons become fans of triangles.

    Args:
        text: of the OBJ file.
        materials: surfaces by name; a name that is not there is plain grey.

    Raises:
        InputError: if a face names a vertex that does not exist, or a number cannot be read.
    """
    lists = _Lists()
    try:
        _read_lines(text, lists)
    except (ValueError, IndexError) as error:
        raise InputError(f"expected an OBJ text of numbers and faces, got {error}") from error
    points = np.array(lists.points, dtype=np.float64).reshape(-1, 3)
    uvs = np.array([*lists.uvs, (0.0, 0.0)], dtype=np.float64).reshape(-1, 2)
    for corners in lists.corners.values():
        # A face may stand before its vertices.
        if any(vertex >= len(points) or uv >= len(lists.uvs) for vertex, uv in corners):
            raise InputError(f"an OBJ face names a vertex beyond the {len(points)} that are there")
    by_surface: dict[Surface, list[tuple[int, int]]] = {}
    for name, corners in lists.corners.items():
        by_surface.setdefault(materials.get(name, PLAIN), []).extend(corners)
    parts = []
    for surface, listed in by_surface.items():
        if listed:
            parts.append(_weld(points, uvs, np.array(listed, dtype=np.int64), surface))
    return [part for part in parts if len(part.faces)]


def _read_lines(text: str, lists: _Lists) -> None:
    corners = lists.corners.setdefault("", [])
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            lists.points.append((float(words[1]), float(words[2]), float(words[3])))
        elif words[0] == "vt":
            lists.uvs.append((float(words[1]), float(words[2])))
        elif words[0] == "usemtl":
            corners = lists.corners.setdefault(" ".join(words[1:]), [])
        elif words[0] == "f":
            fan = [_read_corner(word, lists) for word in words[1:]]
            for second, third in zip(fan[1:-1], fan[2:], strict=True):
                corners += (fan[0], second, third)


def _read_corner(word: str, lists: _Lists) -> tuple[int, int]:
    """Return (vertex, uv) from 0; without uv -1, which reads the zero that stands at the end."""
    fields = word.split("/")
    vertex = int(fields[0])
    uv = int(fields[1]) if len(fields) > 1 and fields[1] else 0
    # Negative numbers count from the end of what was read so far.
    vertex = vertex - 1 if vertex > 0 else len(lists.points) + vertex
    uv = (uv - 1 if uv > 0 else len(lists.uvs) + uv) if uv else -1
    if vertex < 0 or uv < -1:
        raise ValueError(f"the face corner {word}")
    return vertex, uv


def _weld(points: np.ndarray, uvs: np.ndarray, indices: np.ndarray, surface: Surface) -> Part:
    """Give each different pair of position and uv one vertex; drop faces without an area."""
    if not surface.texture:
        indices = indices.copy()
        indices[:, 1] = -1
    keys = np.concatenate([points[indices[:, 0]], uvs[indices[:, 1]]], axis=1)
    keys, inverse = np.unique(keys, axis=0, return_inverse=True)
    faces = inverse.reshape(-1, 3)
    a, b, c = (keys[faces[:, corner], :3] for corner in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    extent = np.ptp(points, axis=0).max(initial=0.0)
    faces = faces[areas > 1e-12 * max(extent, 1e-9) ** 2]
    used, faces = np.unique(faces, return_inverse=True)
    return Part(keys[used, :3], keys[used, 3:], faces.reshape(-1, 3), surface)
