"""Reduce parts to a budget of triangles by merging the vertices of each cell of a grid.

Texture coordinates are part of the grid, so that most seams of a texture stay where they are.
"""

from __future__ import annotations

import numpy as np

from vl2_ros.sim.household.wavefront import Part

#: Steps in which cells grow until the budget is met.
_GROWTH = 1.25
_FIRST_UV_CELL = 1.0 / 24.0


def simplify(part: Part, budget: int) -> Part:
    """Return a part with at most `budget` faces; the same one where it has no more.

    Args:
        part: in any unit.
        budget: number of triangles, at least 4.
    """
    if len(part.faces) <= budget:
        return part
    extent = float(np.ptp(part.vertices, axis=0).max())
    # A closed surface of n cells across has about 12 n^2 triangles.
    cell = extent / max(np.sqrt(budget / 2.0), 2.0)
    uv_cell = _FIRST_UV_CELL
    reduced = _merge(part, cell, uv_cell)
    while len(reduced.faces) > budget:
        cell, uv_cell = cell * _GROWTH, uv_cell * _GROWTH
        reduced = _merge(part, cell, uv_cell)
    return reduced


def _merge(part: Part, cell: float, uv_cell: float) -> Part:
    low = part.vertices.min(axis=0)
    keys = np.concatenate(
        [np.floor((part.vertices - low) / cell), np.floor(part.uvs / uv_cell)], axis=1
    ).astype(np.int64)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.ravel()
    counts = np.bincount(group)
    vertices = np.stack([np.bincount(group, part.vertices[:, i]) for i in range(3)], axis=1)
    uvs = np.stack([np.bincount(group, part.uvs[:, i]) for i in range(2)], axis=1)
    faces = group[part.faces]
    distinct = (
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    )
    faces = faces[distinct]
    # Faces that fell onto each other, whatever their first corner.
    first = np.argmin(faces, axis=1)[:, None]
    ordered = np.take_along_axis(faces, (np.arange(3) + first) % 3, axis=1)
    faces = np.unique(ordered, axis=0)
    return Part(vertices / counts[:, None], uvs / counts[:, None], faces, part.surface)
