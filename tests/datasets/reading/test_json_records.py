from __future__ import annotations

import json

import pytest

from vl2_ros.datasets.reading import json_records
from vl2_ros.datasets.reading.json_records import JsonRecords
from vl2_ros.errors import InputError

DOCUMENT = {
    "info": {"year": 2026, "note": "größer ]}"},
    "images": [{"id": 1, "file_name": 'Straße \\" 1.jpg'}, {"id": 2, "file_name": "二.jpg"}],
    "empty": [],
    "numbers": [12, -3.5, 1e3],
}


@pytest.fixture(params=[3, 7, 64, 1 << 20])
def chunk(request, monkeypatch):
    monkeypatch.setattr(json_records, "_CHUNK_BYTES", request.param)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_records_and_their_places_are_those_of_the_document(tmp_path, chunk, indent, ascii_only):
    path = tmp_path / "index.json"
    text = json.dumps(DOCUMENT, indent=indent, ensure_ascii=ascii_only)
    path.write_text(text, encoding="utf-8")
    file = JsonRecords(path)
    found: dict = {"empty": []}
    for record in file.scan():
        assert file.read(record.span) == record.value
        if record.section == "info":
            found["info"] = record.value
        else:
            found.setdefault(record.section, []).append(record.value)
    assert found == DOCUMENT


def test_a_list_and_lines_have_records_without_a_section(tmp_path, chunk):
    rows = [{"a": 1}, {"b": [2]}, {"c": "d"}]
    whole, lines = tmp_path / "list.json", tmp_path / "rows.jsonl"
    whole.write_text(json.dumps(rows))
    lines.write_bytes(b"\xef\xbb\xbf" + "\n\n".join(json.dumps(row) for row in rows).encode())
    for path in (whole, lines):
        file = JsonRecords(path)
        assert [(one.section, one.value) for one in file.scan()] == [("", row) for row in rows]
        assert [file.read(one.span) for one in file.scan()] == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected {"),
        ('{"a": [1, 2', "from byte"),
        ('{"a": [1 2]}', "expected ,"),
        ('{"a" 1}', "expected :"),
        ("{1: 2}", "expected a name"),
        ('["abc', "from byte"),
        ("[1] 2", "expected the end"),
        ("[" * 100_000, "nested too deep"),
        ('["\udcff"]', "expected UTF-8"),
    ],
)
def test_damage_is_named_by_its_place(tmp_path, text, message):
    path = tmp_path / "index.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="is no JSON") as caught:
        list(JsonRecords(path).scan())
    assert message in str(caught.value)


def test_a_file_over_the_limit_is_not_opened(tmp_path):
    path = tmp_path / "index.json"
    path.write_text("[1, 2, 3]")
    assert len(list(JsonRecords(path, max_bytes=9).scan())) == 3
    with pytest.raises(InputError, match="over the limit of 8"):
        JsonRecords(path, max_bytes=8)
    with pytest.raises(InputError, match="expected a JSON file"):
        JsonRecords(tmp_path / "none.json")


def test_a_large_list_is_not_kept_in_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "index.json"
    with path.open("w") as file:
        file.write('{"annotations": [')
        row = json.dumps({"segmentation": [[1.25] * 400]})
        file.write(", ".join([row] * 5000))
        file.write("]}")
    assert path.stat().st_size > 10 << 20
    tracemalloc.start()
    assert sum(1 for _ in JsonRecords(path).scan()) == 5000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
