"""Read damaged files of every kind; nothing but errors of this package may come out.

Nor may a file take much more memory than it has bytes, or a reader forget to end.
"""

from __future__ import annotations

import json
import logging
import random
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.file_mutations import (
    damage_bytes,
    damage_json,
    damage_text,
    dump_json,
    nest_marked,
)
from benchmarks.fuzzing.file_readers import FileReader, choose_readers
from benchmarks.fuzzing.report import FuzzReport
from vl2_ros.errors import VL2Error

#: Most memory above idle: a multiple of the file's size, plus a constant in bytes.
MEMORY_FACTOR, MEMORY_BYTES = 4, 50 << 20
#: Most seconds for one file.
MAX_SECONDS = 10.0

_TEXT_FORMS = (".json", ".yaml", ".txt", ".msg", ".tsv", "")


def fuzz_files(cases: int, seed: int, names: tuple[str, ...] = ()) -> FuzzReport:
    """Read damaged files of all readers, or of some.

    Args:
        cases: files to damage.
        seed: of the damage; the same seed gives the same files.
        names: of the readers; empty takes all.
    """
    chance = random.Random(seed)
    report = FuzzReport()
    with tempfile.TemporaryDirectory() as root, _quiet():
        samples = [_Sample.make(Path(root), one) for one in choose_readers(names)]
        weights = [one.reader.weight for one in samples]
        for sample in samples:
            # Imports are no part of a file's memory, and a sample that fails would hide the rest.
            sample.reader.read(sample.folder)
        while report.cases < cases:
            report.cases += 1
            (sample,) = chance.choices(samples, weights)
            if find := sample.try_one(chance):
                report.finds.append(f"case {report.cases}: {find}")
    return report


@dataclass(frozen=True, slots=True)
class _Sample:
    """A valid sample of a reader.

    Attributes:
        reader: reads it.
        folder: where it is.
        files: path of each file that is damaged -> its bytes.
        documents: path -> what stands in it, for JSON and YAML.
    """

    reader: FileReader
    folder: Path
    files: dict[Path, bytes]
    documents: dict[Path, Any]

    @classmethod
    def make(cls, root: Path, reader: FileReader) -> _Sample:
        folder = root / reader.name.replace(" ", "_")
        folder.mkdir()
        reader.make(folder)
        found = {path for pattern in reader.files for path in folder.glob(pattern)}
        files = {path: path.read_bytes() for path in sorted(found) if path.is_file()}
        return cls(reader, folder, files, {p: _parse(p) for p in files if _parse(p) is not None})

    def try_one(self, chance: random.Random) -> str:
        """Damage one file and read it; return what was found, or "" for nothing."""
        path = chance.choice(list(self.files))
        damaged = self._damage(chance, path)
        path.write_bytes(damaged)
        try:
            return self._read(path, damaged)
        finally:
            path.write_bytes(self.files[path])

    def _damage(self, chance: random.Random, path: Path) -> bytes:
        if path in self.documents and chance.random() < 0.75:
            document = damage_json(chance, self.documents[path])
            if path.suffix == ".json":
                return dump_json(chance, document)
            return _dump_yaml(document)
        damage = damage_text if path.suffix in _TEXT_FORMS else damage_bytes
        return damage(chance, self.files[path])

    def _read(self, path: Path, damaged: bytes) -> str:
        what = f"{self.reader.name}, {path.relative_to(self.folder)} ({len(damaged)} bytes)"
        idle, began = _reset_peak(), time.monotonic()
        try:
            self.reader.read(self.folder)
        except VL2Error as error:
            if len(str(error)) > 20_000:
                return f"{what}: a message of {len(str(error))} letters"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            place = _find_place(error)
            return f"{what}: {type(error).__name__} at {place}: {str(error)[:200]}"
        grown, spent = _read_peak() - idle, time.monotonic() - began
        allowed = MEMORY_FACTOR * max(len(damaged), sum(map(len, self.files.values())))
        if grown > allowed + MEMORY_BYTES:
            return f"{what}: took {grown >> 20} MB"
        return f"{what}: took {spent:.1f} s" if spent > MAX_SECONDS else ""


def _parse(path: Path) -> Any:
    import yaml

    if path.suffix == ".json":
        return json.loads(path.read_text())
    return yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else None


def _dump_yaml(document: Any) -> bytes:
    import yaml

    return nest_marked(yaml.safe_dump(document)).encode("utf-8", errors="replace")


def _find_place(error: BaseException) -> str:
    """Return the last line of our own that an exception went through."""
    place, trace = "", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "vl2_ros" in name:
            place = f"{Path(name).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _reset_peak() -> int:
    """Reset the measured peak of memory; return what is in use, in bytes (0: not Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _read_status("VmRSS")


def _read_peak() -> int:
    return _read_status("VmHWM")


def _read_status(field: str) -> int:
    try:
        lines: Sequence[str] = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    (line,) = (one for one in lines if one.startswith(f"{field}:"))
    return int(line.split()[1]) << 10


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what readers log and warn of damaged files away from the reader of the report."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
