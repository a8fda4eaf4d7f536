"""A folder of built engines: built once, accepted when they agree with torch, written whole.

    engines.json                        the engines to load, read by the runtime
    embeddings.safetensors              what the language model needs beside its graph
    <name>.<identity>.onnx or .plan     an accepted engine
    <name>.<identity>.onnx.data         its weights, where it does not hold them
    <name>.<identity>.json              what it was built from, when, and how close it is to torch
    <name>.<identity>.sample0.npz       a call to verify it on other machines, where it is for them
    <name>.<identity>.verified.json     the machines on which it was verified
    engines.lock, timing.cache          one builder at a time; kernel times measured so far

The identity covers everything that an engine depends on, so an engine never changes: another recipe
is another file. An engine without its JSON file was not accepted and is never used. `engines.json`
changes last and at once, so the old engines serve until the new ones are there.
"""

from __future__ import annotations

import filecmp
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vl2_ros.documents import is_file, read_json_object
from vl2_ros.errors import EngineError
from vl2_ros.export.engine_builders import Builder, EnginePaths
from vl2_ros.export.engine_identity import EngineRecipe
from vl2_ros.export.engine_profile import GraphProfile
from vl2_ros.export.store_files import (
    PART,
    describe_embeddings,
    hash_file,
    locked,
    mapped_writes,
    replaced_with,
    write_json,
    written_whole,
)
from vl2_ros.export.stored_engine import StoredEngine, read_sidecar, to_entry, to_json
from vl2_ros.runtime.engine import Engine
from vl2_ros.runtime.files.answer_gate import script_path
from vl2_ros.runtime.files.engine_files import (
    EMBEDDINGS,
    FILE_NAME,
    FORMAT,
    WEIGHTS_SUFFIX,
    AxisRange,
    EngineFile,
    read_engine_files,
)
from vl2_ros.runtime.files.first_load import FirstLoad, find_verified, record_verified
from vl2_ros.runtime.files.parity_gate import (
    OutputMiss,
    describe_misses,
    find_samples,
    sample_path,
)
from vl2_ros.runtime.tensorrt_backend.build_progress import BuildProgress

TIMING_CACHE = "timing.cache"
#: In a folder of exported files: the recipe that they were made from.
EXPORT_FILE = "export.json"
_OWN_FILE = re.compile(
    r"([a-z_]+(?:\.[a-z_]+)?\.[0-9a-f]{16})"
    r"\.(onnx|onnx\.data|plan|json|verified\.json|sample\d+\.npz|answers\.npz)(\.\d+)?(\.part)?"
)

#: Runs a new engine on stored inputs; returns how far each output is from torch's.
Gate = Callable[[Engine], Sequence[OutputMiss]]


class EngineStore:
    """One folder of engines.

    Args:
        folder: made when something is built.
        lock_timeout_s: seconds to wait for another process that builds there.
        on_wait: called once when there is another one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lock_timeout_s: float = 3600.0,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Store the path."""
        self.folder = folder
        self._timeout_s = lock_timeout_s
        self._on_wait = on_wait

    def find(self, recipe: EngineRecipe) -> StoredEngine | None:
        """Return the accepted engine of a recipe, whole and unchanged, or None."""
        path = self.folder / f"{recipe.stem}.json"
        stored = read_sidecar(path) if path.is_file() else None
        if stored is None or stored.recipe.identity != recipe.identity:
            return None
        try:
            stored.file.check()
            stored.file.check_samples()
        except EngineError:
            return None
        return stored

    def build(
        self,
        source: EngineFile,
        profile: GraphProfile,
        builder: Builder,
        gate: Gate,
        progress: Callable[[BuildProgress], None] = lambda _: None,
    ) -> StoredEngine:
        """Return the engine of a graph, built if the store has none of this recipe.

        Args:
            source: the exported ONNX file; its axes give the sizes that the file fixes.
            profile: precision and shapes.
            builder: makes and loads the engine.
            gate: decides whether a new engine is accepted.
            progress: called with the progress of a build.

        Raises:
            EngineError: if the source is damaged or of another graph, the build failed, an output
                is too far from torch's, or the folder cannot be written.
        """
        source.check()
        recipe = EngineRecipe(
            source.name,
            source.content_sha256,
            builder.runtime,
            builder.device_name,
            profile.precision,
            profile.shapes,
            builder.options,
        )
        if stored := self.find(recipe):
            return self._verify_here(stored, builder)
        with locked(self.folder, timeout_s=self._timeout_s, on_wait=self._on_wait):
            # Another process may have built it meanwhile.
            return self.find(recipe) or self._build(
                source, profile, recipe, builder, gate, progress
            )

    def _build(
        self,
        source: EngineFile,
        profile: GraphProfile,
        recipe: EngineRecipe,
        builder: Builder,
        gate: Gate,
        progress: Callable[[BuildProgress], None],
    ) -> StoredEngine:
        path = self.folder / f"{recipe.stem}{builder.suffix}"
        began = time.time()
        samples = self._keep_samples(source, path) if builder.is_for_others else ()
        weights = path.with_name(path.name + WEIGHTS_SUFFIX)
        with written_whole(path) as part, replaced_with(path, weights):
            out = EnginePaths(part, weights, self.folder / TIMING_CACHE)
            builder.build(source.path, profile, out, progress)
            new = EngineFile(
                source.name,
                part,
                hash_file(part),
                profile.precision,
                _merge_axes(source, profile),
                built_with=recipe.runtime,
                built_for=recipe.device,
                portable=builder.is_portable,
                weights=(weights, hash_file(weights)) if is_file(weights) else None,
            )
            misses = _pass(new, builder, gate, self.folder) if builder.machine else ()
            size = sum(one.stat().st_size for one in new.list_paths())
        file = replace(new, path=path, samples=samples)
        stored = StoredEngine(file, recipe, began, time.time() - began, size, misses)
        write_json(self.folder / f"{recipe.stem}.json", to_json(stored))
        builder.accept(file)
        if misses and samples:
            with mapped_writes(self.folder):
                record_verified(file, builder.machine, misses)
        return stored

    def _keep_samples(self, source: EngineFile, path: Path) -> tuple[tuple[Path, str], ...]:
        """Put the stored calls and answers of an exported file beside its engine."""
        kept = []
        stored = {sample_path(path, i): one for i, one in enumerate(find_samples(source.path))}
        if is_file(script_path(source.path)):
            stored[script_path(path)] = script_path(source.path)
        for own, sample in stored.items():
            with written_whole(own) as part:
                shutil.copyfile(sample, part)
            kept.append((own, hash_file(own)))
        return tuple(kept)

    def _verify_here(self, stored: StoredEngine, builder: Builder) -> StoredEngine:
        """Verify an engine of the store that was compiled where it could not run."""
        file = stored.file
        if not (file.samples and builder.machine) or builder.machine in find_verified(file):
            return stored
        return replace(stored, misses=FirstLoad(builder.load, builder.machine).verify(file)[1])

    def publish(
        self, checkpoint: str, engines: Sequence[StoredEngine], embeddings: Path | None = None
    ) -> None:
        """Let the runtime load these engines; those of other graphs stay if of the same checkpoint.

        Args:
            checkpoint: identity of the checkpoint that the engines were made from.
            engines: accepted ones of this store.
            embeddings: file to put beside them.

        Raises:
            EngineError: if the folder cannot be written.
        """
        rows = {one.recipe.graph: to_entry(one) for one in engines}
        if self._is_published(checkpoint, rows, embeddings):
            return
        with locked(self.folder, timeout_s=self._timeout_s, on_wait=self._on_wait):
            if embeddings is not None:
                with written_whole(self.folder / EMBEDDINGS) as part:
                    shutil.copyfile(embeddings, part)
            graphs = self._read_index(checkpoint) | rows
            document = {"format": FORMAT, "checkpoint": checkpoint, "graphs": graphs}
            if is_file(self.folder / EMBEDDINGS):
                document["embeddings"] = describe_embeddings(self.folder)
            write_json(self.folder / FILE_NAME, document)

    def _is_published(
        self, checkpoint: str, rows: Mapping[str, Any], embeddings: Path | None
    ) -> bool:
        """Return whether nothing is to be written, so that a folder may be read-only."""
        there = self.folder / EMBEDDINGS
        index = self._read_index(checkpoint)
        return all(index.get(graph) == row for graph, row in rows.items()) and (
            embeddings is None
            or (
                there.is_file()
                and filecmp.cmp(embeddings, there, shallow=False)
                # One that was written before there was a hash has none.
                and self._read_document().get("embeddings") == describe_embeddings(self.folder)
            )
        )

    @property
    def checkpoint(self) -> str:
        """Identity of the checkpoint that the published engines were made from; empty: none."""
        return str(self._read_document().get("checkpoint", ""))

    def _read_document(self) -> dict[str, Any]:
        try:
            return read_json_object(self.folder / FILE_NAME, EngineError)
        except EngineError:
            return {}

    def _read_index(self, checkpoint: str) -> dict[str, Any]:
        document = self._read_document()
        graphs = document.get("graphs")
        same = document.get("checkpoint") == checkpoint and isinstance(graphs, dict)
        return dict(graphs) if same and isinstance(graphs, dict) else {}

    def list_engines(self) -> list[StoredEngine]:
        """Return every accepted engine, by graph, the newest first; damaged JSON is skipped."""
        found = [read_sidecar(path) for path in sorted(self.folder.glob("*.json"))]
        stored = [one for one in found if one is not None]
        return sorted(stored, key=lambda one: (one.recipe.graph, -one.built_at))

    def published(self) -> Mapping[str, EngineFile]:
        """Return the engines that the runtime loads: name -> file; empty where there are none."""
        if not (self.folder / FILE_NAME).is_file():
            return {}
        return read_engine_files(self.folder).graphs

    def clean(self, *, everything: bool = False) -> list[Path]:
        """Delete engines that `engines.json` does not name, and files of interrupted builds.

        Args:
            everything: also those that it names, itself, and the measured times.

        Returns:
            The files that are gone.

        Raises:
            EngineError: if a file cannot be deleted, or another process builds.
        """
        if not self.folder.is_dir():
            return []
        with locked(self.folder, timeout_s=self._timeout_s, on_wait=self._on_wait):
            kept = set() if everything else {one.path.stem for one in self.published().values()}
            gone = [
                path
                for path in sorted(self.folder.iterdir())
                if (named := _OWN_FILE.fullmatch(path.name))
                and (path.suffix == PART or named.group(3) or named.group(1) not in kept)
            ]
            if everything:
                own = (FILE_NAME, EMBEDDINGS, TIMING_CACHE)
                gone += [path for name in own if (path := self.folder / name).is_file()]
            with mapped_writes(self.folder):
                for path in gone:
                    path.unlink(missing_ok=True)
        return gone


def clean_exported(folder: Path) -> list[Path]:
    """Delete exported ONNX files with what lies beside them; other files of the folder stay.

    Returns:
        The files that are gone.

    Raises:
        EngineError: if a file cannot be deleted, or `engines.json` cannot be read.
    """
    if not (folder / FILE_NAME).is_file():
        return []
    exported = read_engine_files(folder)
    beside = [one.path.parent.glob(f"{one.path.stem}.*") for one in exported.graphs.values()]
    gone = [*sorted(path for paths in beside for path in paths)]
    # Tables in another file are the checkpoint's own.
    gone += [] if exported.embeddings_tables else [exported.embeddings]
    gone = [path for path in (*gone, folder / EXPORT_FILE, folder / FILE_NAME) if path.is_file()]
    with mapped_writes(folder):
        for path in gone:
            path.unlink()
    return gone


def _pass(new: EngineFile, builder: Builder, gate: Gate, folder: Path) -> tuple[OutputMiss, ...]:
    """Run the gate on an engine of this user, and return by how much its outputs miss."""
    misses = tuple(gate(builder.load(new, just_built=True)))
    if any(one.is_over for one in misses):
        raise EngineError(
            f"the new engine of {new.name} ({new.built_with}, {new.precision}) is too far from "
            f"torch and was rejected: {describe_misses(misses)};  what was in {folder} before "
            "stays; give the graph a wider precision in the profile"
        )
    return misses


def _merge_axes(source: EngineFile, profile: GraphProfile) -> dict[str, AxisRange]:
    """Return sizes as the exported file fixes them, and ranges as the profile has them."""
    fixed = {axis: size for axis, size in source.axes.items() if isinstance(size, int)}
    return {**source.axes, **profile.axes, **fixed}
