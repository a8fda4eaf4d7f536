from __future__ import annotations

import tarfile

import pytest

from vl2_ros.datasets.reading.data_report import DataReport
from vl2_ros.datasets.reading.tar_shards import TarShards, list_shards, write_shards
from vl2_ros.errors import InputError

PARTS = ("rgb.png", "objects.json")
RECORDS = [
    (f"{n:08d}", {"rgb.png": bytes([n]) * (700 + n), "objects.json": b"{}"}) for n in range(7)
]


def test_records_are_read_as_they_were_written(tmp_path):
    paths = write_shards(tmp_path / "shards", RECORDS, per_shard=3)
    assert [path.name for path in paths] == [f"shard-00000{n}.tar" for n in range(3)]
    assert list_shards(tmp_path / "shards") == paths and list_shards(paths[0]) == paths[:1]
    shards = TarShards(paths, PARTS, DataReport("shards"))
    assert shards.names == [name for name, _ in RECORDS]
    for index, (_, parts) in enumerate(RECORDS):
        assert {part: shards.read(index, part) for part in PARTS} == parts


def test_other_programs_read_the_names(tmp_path):
    (path,) = write_shards(tmp_path, RECORDS)
    with tarfile.open(path) as tar:
        assert tar.getnames()[:3] == [
            "00000000.rgb.png",
            "00000000.objects.json",
            "00000001.rgb.png",
        ]
        assert tar.extractfile("00000003.rgb.png").read() == RECORDS[3][1]["rgb.png"]


def test_a_record_without_a_part_and_a_truncated_file_are_counted(tmp_path):
    records = [*RECORDS[:3], ("lonely", {"rgb.png": b"1"})]
    first, second = write_shards(tmp_path, [*records, *RECORDS[4:]], per_shard=4)
    second.write_bytes(second.read_bytes()[:2600])
    report = DataReport("shards")
    shards = TarShards([first, second], PARTS, report)
    assert shards.names == ["00000000", "00000001", "00000002", "00000004"]
    assert {one.reason for one in report.losses} == {
        "record lacks a part",
        "tar file damaged or truncated",
    }
    assert report.is_lossy
    with pytest.raises(InputError, match="shard-000001.tar"):
        TarShards([second], PARTS, DataReport("shards", strict=True))


def test_a_folder_without_shards_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no tar file"):
        list_shards(tmp_path)
