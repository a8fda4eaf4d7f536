"""Read and write tar files by WebDataset's naming: the parts of a record share a name.

`00000042.rgb.png` and `00000042.objects.json` are the parts "rgb.png" and "objects.json" of the
record "00000042": the name ends at the first dot.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from vl2_ros.datasets.reading.data_report import BadRecordError, DataReport
from vl2_ros.documents import write_whole
from vl2_ros.errors import InputError

#: Most bytes of a part.
MAX_PART_BYTES = 256 << 20
#: Bytes of a block of a tar file.
_BLOCK = 512
#: Place of a part: number of the tar, first byte, bytes.
_Position = tuple[int, int, int]


def list_shards(path: Path) -> list[Path]:
    """Return a tar file, or those of a folder by name.

    Raises:
        InputError: if there is none.
    """
    found = sorted(path.glob("*.tar")) if path.is_dir() else [path] if path.is_file() else []
    if not found:
        raise InputError(f"{path} is no tar file and no folder with some; check the path")
    return found


def write_shards(
    folder: Path, records: Iterable[tuple[str, Mapping[str, bytes]]], *, per_shard: int = 1000
) -> list[Path]:
    """Write records into `shard-000000.tar` and so on, each whole or not at all.

    Args:
        folder: made when missing.
        records: name of each, without a dot, and its parts by their endings.
        per_shard: records of a tar.

    Returns:
        The paths, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    waiting = iter(records)
    paths: list[Path] = []
    for chunk in iter(lambda: _take(waiting, per_shard), []):
        path = folder / f"shard-{len(paths):06d}.tar"
        write_shard(path, chunk)
        paths.append(path)
    return paths


def write_shard(path: Path, records: Iterable[tuple[str, Mapping[str, bytes]]]) -> None:
    """Write records into one tar file, whole or not at all."""
    write_whole(path, partial(_write_tar, list(records)))


def _take(
    records: Iterator[tuple[str, Mapping[str, bytes]]], count: int
) -> list[tuple[str, Mapping[str, bytes]]]:
    return [record for _, record in zip(range(count), records, strict=False)]


def _write_tar(records: Sequence[tuple[str, Mapping[str, bytes]]], path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, parts in records:
            for ending, content in parts.items():
                member = tarfile.TarInfo(f"{name}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


class TarShards:
    """Records of tar files, read by their position in them.

    Args:
        paths: of the tar files, not compressed.
        parts: endings that a record needs; others are not read.
        report: counts what is bad.
    """

    def __init__(self, paths: Sequence[Path], parts: Sequence[str], report: DataReport) -> None:
        """List the members of all files."""
        self._paths = list(paths)
        found: dict[tuple[int, str], dict[str, _Position]] = {}
        for number, path in enumerate(self._paths):
            report.totals["files"] += 1
            try:
                self._list_members(number, path, found)
            except (tarfile.TarError, OSError, EOFError) as error:
                bad = BadRecordError("files", "tar file damaged or truncated", str(error))
                report.skip(bad, path.name)
        self.names: list[str] = []
        self._positions: list[dict[str, _Position]] = []
        report.totals["records"] += len(found)
        for (_, name), positions in found.items():
            missing = [part for part in parts if part not in positions]
            if missing:
                bad = BadRecordError("records", "record lacks a part", ", ".join(missing))
                report.skip(bad, name)
                continue
            self.names.append(name)
            self._positions.append({part: positions[part] for part in parts})

    @staticmethod
    def _list_members(
        number: int, path: Path, found: dict[tuple[int, str], dict[str, _Position]]
    ) -> None:
        size, end = path.stat().st_size, 0
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
                name, dot, ending = Path(member.name).name.partition(".")
                if not member.isfile() or not dot or member.size > MAX_PART_BYTES:
                    continue
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError("unexpected end of data")
                position = (number, member.offset_data, member.size)
                found.setdefault((number, name), {})[ending] = position
                # The list of members that tarfile keeps would hold every header.
                tar.members = []  # type: ignore[attr-defined]
        # A file that is cut within a header looks complete to tarfile.
        with path.open("rb") as file:
            file.seek(end)
            if file.read(_BLOCK) != bytes(_BLOCK):
                raise tarfile.ReadError("no end mark")

    def __len__(self) -> int:
        """Return the number of whole records."""
        return len(self.names)

    def read(self, index: int, part: str) -> bytes:
        """Return a part of a record.

        Raises:
            BadRecordError: if the file has changed.
        """
        number, offset, size = self._positions[index][part]
        try:
            with self._paths[number].open("rb") as file:
                file.seek(offset)
                content = file.read(size)
        except OSError as error:
            raise BadRecordError("records", "tar file cannot be read", str(error)) from error
        if len(content) != size:
            raise BadRecordError("records", "tar file damaged or truncated")
        return content
