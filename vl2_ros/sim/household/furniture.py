"""Load models of the catalogues: parts in metres with textures, where things can stand, a cache.

A model stands on z = 0 with the middle of its box on the z axis and looks towards -y.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vl2_ros.errors import InputError, SimulationError
from vl2_ros.sim.household.catalogue import CatalogueEntry
from vl2_ros.sim.household.simplify import simplify
from vl2_ros.sim.household.wavefront import Part, Surface, parse_materials, parse_object

TEXTURE_SIDE = 256
SAMPLES = 160
#: Raised whenever a cached model would be made differently.
CACHE_FORMAT = 1
#: From the axes of a catalogue (x right, y up, z to the front) to ours.
_FROM_CATALOGUE = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True, slots=True, eq=False)
class Support:
    """A level surface on which things can stand.

    Attributes:
        height: metres above the floor.
        center: (2,) metres, of the rectangle.
        half: (2,) metres, half sides along x and y.
    """

    height: float
    center: np.ndarray
    half: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Furniture:
    """One loaded model.

    Attributes:
        size: (3,) metres along x, y and z.
        parts: triangles per material.
        textures: name to (H, W, 3) uint8 RGB, first row at the top of the image.
        areas: (P,) share of the whole surface for each part.
        support: the highest large level surface, if there is one.
        samples: (S, 3) points on the surface, drawn by area.
        normals: (S, 3) unit normals at the samples.
    """

    size: np.ndarray
    parts: tuple[Part, ...]
    textures: dict[str, np.ndarray]
    areas: np.ndarray
    support: Support | None
    samples: np.ndarray
    normals: np.ndarray


def load_furniture(
    entry: CatalogueEntry, *, budget: int, max_parts: int, cache: Path | None = None
) -> Furniture:
    """Load a model.

    Args:
        entry: of a catalogue.
        budget: most triangles.
        max_parts: most parts; the smallest join the part with the most similar colour.
        cache: folder of models that were loaded before; made when missing.

    Raises:
        SimulationError: if the archive lacks the model or its files cannot be read.
    """
    name = f"{CACHE_FORMAT}-{budget}-{max_parts}-{entry.identifier.replace('/', '_')}.npz"
    if cache is not None and (cache / name).is_file():
        parts, textures = _read_cached(cache / name)
    else:
        parts, textures = _read_model(entry, budget, max_parts)
        if cache is not None:
            _write_cached(cache, name, parts, textures)
    return _describe(parts, textures)


def _read_model(
    entry: CatalogueEntry, budget: int, max_parts: int
) -> tuple[list[Part], dict[str, np.ndarray]]:
    try:
        with zipfile.ZipFile(entry.archive) as archive:
            text = archive.read(entry.model_path).decode("latin-1")
            folder = entry.model_path.rpartition("/")[0]
            materials: dict[str, Surface] = {}
            for line in text.splitlines():
                if line.startswith("mtllib"):
                    path = f"{folder}/{line.split(None, 1)[1].strip()}"
                    materials |= parse_materials(archive.read(path).decode("latin-1"))
            # Some models name an image that their catalogue lacks.
            present = set(archive.namelist())
            materials = {
                name: surface
                if f"{folder}/{surface.texture}" in present
                else replace(surface, texture="")
                for name, surface in materials.items()
            }
            parts = parse_object(text, materials)
            textures = _read_textures(archive, folder, parts)
    except (OSError, KeyError, ValueError, InputError, zipfile.BadZipFile) as error:
        raise SimulationError(
            f"cannot read {entry.model_path} of {entry.archive} ({error}); "
            "install sweethome3d-furniture again"
        ) from error
    parts = _merge_small(_into_metres(parts, entry), max_parts)
    total = sum(len(part.faces) for part in parts)
    if total > budget:
        parts = [simplify(part, max(60, int(budget * len(part.faces) / total))) for part in parts]
    kept = {part.surface.texture for part in parts}
    return (
        [_round(part) for part in parts if len(part.faces)],
        {name: pixels for name, pixels in textures.items() if name in kept},
    )


def _round(part: Part) -> Part:
    """Round to what a cache holds, so that a frame is the same with and without one."""
    vertices, uvs = (
        values.astype(np.float32).astype(np.float64) for values in (part.vertices, part.uvs)
    )
    return Part(vertices, uvs, part.faces, part.surface)


def _read_textures(
    archive: zipfile.ZipFile, folder: str, parts: list[Part]
) -> dict[str, np.ndarray]:
    textures = {}
    for name in {part.surface.texture for part in parts} - {""}:
        data = np.frombuffer(archive.read(f"{folder}/{name}"), np.uint8)
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if bgr is None:
            raise ValueError(f"the image {name}")
        height, width = (min(side, TEXTURE_SIDE) for side in bgr.shape[:2])
        bgr = cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA)
        textures[name] = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return textures


def _into_metres(parts: list[Part], entry: CatalogueEntry) -> list[Part]:
    turned = [part.vertices @ entry.rotation.T @ _FROM_CATALOGUE.T for part in parts]
    every = np.concatenate(turned)
    low, high = every.min(axis=0), every.max(axis=0)
    scale = entry.size_m / np.maximum(high - low, 1e-6)
    origin = np.array([*(0.5 * (low + high))[:2], low[2]])
    return [
        Part((vertices - origin) * scale, part.uvs, part.faces, part.surface)
        for part, vertices in zip(parts, turned, strict=True)
    ]


def _merge_small(parts: list[Part], most: int) -> list[Part]:
    """Join parts without a texture where that changes the least area by the least colour."""
    parts = sorted(parts, key=lambda part: -_face_areas(part)[0].sum())
    while len(parts) > most:
        plain = [i for i, part in enumerate(parts) if not part.surface.texture]
        if len(plain) < 2:
            return parts[:most]
        rgbs = np.array([parts[i].surface.rgb for i in plain])
        sums = np.array([_face_areas(parts[i])[0].sum() for i in plain])
        cost = (0.02 + np.abs(rgbs[:, None] - rgbs[None]).sum(axis=2)) * sums[:, None]
        cost[np.triu_indices(len(plain), 0)] = np.inf  # into a larger one
        small, large = np.unravel_index(int(np.argmin(cost)), cost.shape)
        parts[plain[large]] = _join(parts[plain[large]], parts[plain[small]])
        parts.pop(plain[small])
    return parts


def _join(part: Part, other: Part) -> Part:
    return Part(
        np.concatenate([part.vertices, other.vertices]),
        np.concatenate([part.uvs, other.uvs]),
        np.concatenate([part.faces, other.faces + len(part.vertices)]),
        part.surface,
    )


def _face_areas(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Return (F,) areas and (F, 3) unit normals."""
    a, b, c = (part.vertices[part.faces[:, corner]] for corner in range(3))
    cross = np.cross(b - a, c - a)
    double = np.linalg.norm(cross, axis=1)
    return 0.5 * double, cross / np.maximum(double, 1e-15)[:, None]


def _describe(parts: list[Part], textures: dict[str, np.ndarray]) -> Furniture:
    areas, normals = zip(*(_face_areas(part) for part in parts), strict=True)
    centers = [part.vertices[part.faces].mean(axis=1) for part in parts]
    every_area, every_normal = np.concatenate(areas), np.concatenate(normals)
    every_center = np.concatenate(centers)
    chosen = np.random.default_rng(0).choice(
        len(every_area), SAMPLES, p=every_area / every_area.sum()
    )
    sums = np.array([area.sum() for area in areas])
    vertices = np.concatenate([part.vertices for part in parts])
    return Furniture(
        size=np.ptp(vertices, axis=0),
        parts=tuple(parts),
        textures=textures,
        areas=sums / sums.sum(),
        support=_find_support(every_center, every_normal, every_area, np.ptp(vertices, axis=0)),
        samples=every_center[chosen],
        normals=every_normal[chosen],
    )


def _find_support(
    centers: np.ndarray, normals: np.ndarray, areas: np.ndarray, size: np.ndarray
) -> Support | None:
    """Find the highest level, to a centimetre, that covers a third of the footprint."""
    level = np.abs(normals[:, 2]) > 0.97
    heights = np.round(centers[level, 2], 2)
    for height in sorted(set(heights.tolist()), reverse=True):
        near = np.abs(heights - height) < 0.006
        area = areas[level][near].sum()
        if area < 0.33 * size[0] * size[1]:
            continue
        # Centres of triangles lie inside; a rectangle inside a round top has .64 of its square.
        points, weights = centers[level][near][:, :2], areas[level][near]
        center = np.average(points, axis=0, weights=weights)
        filled = min(1.0, float(area / (size[0] * size[1])))
        return Support(height, center, 0.5 * size[:2] * np.sqrt(filled) * 0.85)
    return None


def _write_cached(
    cache: Path, name: str, parts: list[Part], textures: dict[str, np.ndarray]
) -> None:
    """Write by one rename, so that processes can share a folder."""
    arrays: dict[str, np.ndarray] = {}
    for index, part in enumerate(parts):
        arrays[f"vertices_{index}"] = part.vertices.astype(np.float32)
        arrays[f"uvs_{index}"] = part.uvs.astype(np.float32)
        arrays[f"faces_{index}"] = part.faces.astype(np.int32)
    arrays |= {f"texture_{index}": pixels for index, pixels in enumerate(textures.values())}
    surfaces = [asdict(part.surface) for part in parts]
    document = json.dumps({"surfaces": surfaces, "textures": list(textures)})
    cache.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, document=np.array(document), **arrays)  # type: ignore[arg-type]
    partial = cache / f"{name}.{np.random.default_rng().integers(1 << 62)}"
    partial.write_bytes(buffer.getvalue())
    partial.replace(cache / name)


def _read_cached(path: Path) -> tuple[list[Part], dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as arrays:
        document = json.loads(str(arrays["document"]))
        parts = [
            Part(
                arrays[f"vertices_{index}"].astype(np.float64),
                arrays[f"uvs_{index}"].astype(np.float64),
                arrays[f"faces_{index}"].astype(np.int64),
                Surface(**{**surface, "rgb": tuple(surface["rgb"])}),
            )
            for index, surface in enumerate(document["surfaces"])
        ]
        textures = {
            name: arrays[f"texture_{index}"] for index, name in enumerate(document["textures"])
        }
    return parts, textures
