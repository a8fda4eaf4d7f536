"""Peak memory of loading and converting a checkpoint, measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.model.checkpoint.fake_release import (
    FORMS,
    SCALED_DOWN,
    SMALL,
    make_weights,
    write_release,
)
from vl2_ros.model.checkpoint.folder import describe_checkpoint, save_model
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import IMAGE_PARTS

#: Measures the job named first: a dtype to load everything in, `convert`, `part:` and a name to
#: load that alone, `without:` and names to load all but these, `mapped:` and a dtype.
_MEASURE = """
import sys
from pathlib import Path
import torch
from vl2_ros.model.checkpoint.folder import convert_checkpoint, load_model, load_part
from vl2_ros.model.parts import PARTS
import vl2_ros.model.diffusion.generator, diffusers.models.unets.unet_2d_condition  # not measured
import diffusers.models.autoencoders.autoencoder_kl
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
    kind, _, names = job.partition(":")
    if kind == "part":
        model = load_part(folder, names)
    elif kind == "without":
        model = load_model(folder, parts=set(PARTS) - set(names.split(",")))
    elif kind == "mapped":
        anonymous = status("RssAnon")
        model = load_model(folder, dtype=getattr(torch, names), mapped=True)
        size = sum(tensor.nbytes for tensor in model.state_dict().values())
        print(size, status("RssAnon") - anonymous)
        sys.exit()
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
    root = Path(__file__).parents[3]
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
@pytest.mark.parametrize("form", FORMS)
def test_mapped_weights_take_no_memory_of_their_own(scaled_down, tmp_path, weights, form):
    size_mib, grown_mib = measure("mapped:bfloat16", scaled_down / form, tmp_path, weights)
    assert size_mib > 150
    assert grown_mib <= 16, f"{grown_mib:.0f} MiB for {size_mib:.0f} MiB of mapped weights"


@needs_proc
@pytest.mark.slow
def test_conversion_takes_a_few_shards_of_memory(scaled_down, tmp_path, weights):
    size_mib, peak_mib = measure("convert", scaled_down / "bin", tmp_path, weights)
    assert size_mib > 150
    assert peak_mib <= 3 * 32, f"{peak_mib:.0f} MiB for shards of 32 MiB"


# Parts


@pytest.fixture(scope="module")
def with_images(tmp_path_factory):
    """A checkpoint of ours whose parts are all large enough to be seen."""
    config = ModelConfig.tiny(with_images=True)
    detection = {**config.detection.to_dict(), "encoder_ffn_dim": 60_000}
    values = {
        **config.to_dict(),
        "llm": {**config.llm, "intermediate_size": 60_000},
        "detection": {**detection, "decoder_ffn_dim": 60_000},
    }
    for part in IMAGE_PARTS:
        wide = {**config.to_dict()[part]["denoiser"], "block_out_channels": [96, 96, 192, 192]}
        values[part] = {**config.to_dict()[part], "denoiser": wide}
    folder = tmp_path_factory.mktemp("with_images")
    save_model(
        VisionLLM(ModelConfig.from_dict(values), TokenIds.from_base(64)),
        folder,
        dtype=torch.float32,
    )
    return folder


#: A window of the mapped file (16), the tensor that ends it (at most 15), and small objects.
SLACK_MIB = 36


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("part", ["detection_decoder", *IMAGE_PARTS])
def test_a_part_alone_takes_its_own_weights_and_no_others(with_images, tmp_path, weights, part):
    stored = describe_checkpoint(with_images).part_bytes
    size_mib, peak_mib = measure(f"part:{part}", with_images, tmp_path, weights)
    assert size_mib == pytest.approx(stored[part] / 2**20)
    assert size_mib > 25
    assert peak_mib <= size_mib + SLACK_MIB, f"{peak_mib:.0f} MiB for {size_mib:.0f} MiB"
    assert size_mib + SLACK_MIB < sum(stored.values()) / 2**20 / 2


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("excluded", [(*IMAGE_PARTS,), ("detection_decoder", *IMAGE_PARTS)])
def test_parts_that_are_excluded_take_no_memory(with_images, tmp_path, weights, excluded):
    stored = describe_checkpoint(with_images).part_bytes
    names = ("pose_decoder", *excluded)
    size_mib, peak_mib = measure(f"without:{','.join(names)}", with_images, tmp_path, weights)
    kept = sum(stored.values()) - sum(stored[name] for name in excluded)
    assert size_mib == pytest.approx(kept / 2**20)
    assert peak_mib <= size_mib + SLACK_MIB, f"{peak_mib:.0f} MiB for {size_mib:.0f} MiB"
    assert sum(stored[name] for name in excluded) / 2**20 > 2 * SLACK_MIB
