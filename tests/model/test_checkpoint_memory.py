"""Peak memory of loading and converting a checkpoint, measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model.fake_release import FORMS, SCALED_DOWN, SMALL, make_weights, write_release

_MEASURE = """
import sys
from pathlib import Path
import torch
from vl2_ros.model.checkpoint import convert_checkpoint, load_model
job, warm_up, folder, out = sys.argv[1:]
def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))
load_model(warm_up)  # imports and thread pools
baseline = status("VmRSS")
if job == "convert":
    convert_checkpoint(folder, out, max_shard_bytes=32 * 2**20)
    size = sum(path.stat().st_size for path in Path(out).glob("*.safetensors"))
else:
    model = load_model(folder, dtype=getattr(torch, job))
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
print(size, status("VmHWM") - baseline)
"""


@pytest.fixture
def weights():
    return make_weights(SMALL)


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc"
)


@pytest.fixture(scope="module")
def scaled_down(tmp_path_factory):
    big = make_weights(SCALED_DOWN)
    folder = tmp_path_factory.mktemp("scaled_down")
    for form in FORMS:
        write_release(folder / form, big, sizes=SCALED_DOWN, form=form, shards=4)
    return folder


def measure(job, folder, tmp_path, weights):
    warm_up = write_release(tmp_path / "warm_up", weights)
    arguments = [job, str(warm_up), str(folder), str(tmp_path / "out")]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *arguments],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    size, peak = map(int, done.stdout.split())
    return size / 2**20, peak / 2**20


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_loading_takes_at_most_1_2_times_the_weights(scaled_down, tmp_path, weights, form):
    size_mib, peak_mib = measure("float32", scaled_down / form, tmp_path, weights)
    assert 300 < size_mib < 400
    assert peak_mib <= 1.2 * size_mib, f"{peak_mib:.0f} MiB for {size_mib:.0f} MiB of weights"


@needs_proc
@pytest.mark.slow
def test_loading_without_conversion_takes_at_most_1_2_times(scaled_down, tmp_path, weights):
    size_mib, peak_mib = measure("bfloat16", scaled_down / "bin", tmp_path, weights)
    assert peak_mib <= 1.2 * size_mib, f"{peak_mib:.0f} MiB for {size_mib:.0f} MiB of weights"


@needs_proc
@pytest.mark.slow
def test_conversion_takes_a_few_shards_of_memory(scaled_down, tmp_path, weights):
    size_mib, peak_mib = measure("convert", scaled_down / "bin", tmp_path, weights)
    assert size_mib > 150
    assert peak_mib <= 3 * 32, f"{peak_mib:.0f} MiB for shards of 32 MiB"
