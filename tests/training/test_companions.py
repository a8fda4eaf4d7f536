"""Files beside the weights are copied into the folder of a run once."""

from __future__ import annotations

from vl2_ros.loading import EMBEDDED_WEIGHTS, load_processing
from vl2_ros.processing.config import FILE_NAME
from vl2_ros.training.companions import copy_companions, find_init


def test_files_that_are_there_are_left_alone(tmp_path):
    init = find_init("embedded")
    copy_companions(init, tmp_path)
    assert load_processing(tmp_path) == load_processing(EMBEDDED_WEIGHTS)
    first = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    assert {FILE_NAME, "tokenizer.json"} <= first.keys()
    copy_companions(init, tmp_path)
    assert {path.name: path.stat().st_ino for path in tmp_path.iterdir()} == first


def test_files_of_another_checkpoint_are_replaced(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    copy_companions(find_init("embedded"), tmp_path)
    copied, source = tmp_path / "tokenizer.json", EMBEDDED_WEIGHTS / "tokenizer.json"
    assert copied.read_bytes() == source.read_bytes()
    assert not list(tmp_path.glob("*.part"))
