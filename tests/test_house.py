from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
GOLDEN_TEST = "tests/processing/test_tokenizer.py"


def run_golden_test(golden: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "golden", GOLDEN_TEST],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "VL2_GOLDEN": str(golden)},
    )


def test_missing_reference_vectors_fail_instead_of_being_skipped(tmp_path):
    done = run_golden_test(tmp_path / "none")
    assert done.returncode == 1
    assert "not a folder" in done.stdout and " passed" not in done.stdout


def test_an_empty_folder_of_reference_vectors_fails_too(tmp_path):
    done = run_golden_test(tmp_path)
    assert done.returncode == 1 and "skipped" not in done.stdout


def test_the_small_copy_runs_and_names_what_it_leaves_out():
    done = run_golden_test(REPOSITORY / "tests" / "golden")
    assert done.returncode == 0
    assert "did not run" in done.stdout and "leaves out release_tiny/chat.json" in done.stdout


@pytest.mark.parametrize("target", ["demo", "test", "check", "train"])
def test_make_knows_what_to_do(target, tmp_path):
    if shutil.which("make") is None:
        pytest.fail("expected make on the machine that runs the tests")
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    for name in ("setup.py", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    done = subprocess.run(["make", "-n", target], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("torch==2.13.0") < done.stdout.index("--editable")


TENSORRT_STUBS = sorted((REPOSITORY.parent / "shared" / "typings").glob("tensorrt-*"))


def check_tensorrt_files(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the part of `make check` that needs TensorRT's signatures, on a copy of the sources."""
    (lines,) = re.findall(
        r"\t@set -e; for stubs.*?done\n", (REPOSITORY / "Makefile").read_text(), flags=re.S
    )
    script = lines.replace("\t@", "").replace("\\\n", " ").replace("$$", "$")
    script = script.replace("$(TENSORRT_STUBS)", " ".join(map(str, TENSORRT_STUBS)))
    script = script.replace("$(BIN)/mypy", f"{sys.executable} -m mypy")
    (files,) = re.findall("TENSORRT_FILES := (.*)", (REPOSITORY / "Makefile").read_text())
    script = script.replace("$(TENSORRT_FILES)", files)
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd=folder)


@pytest.mark.skipif(not TENSORRT_STUBS, reason="no signatures of TensorRT beside the repository")
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        # In no version, in version 10 alone, in version 11 alone, and a wrong argument.
        ("engine", "context.execute_async_v3(handle)", "context.execute_async_v4(handle)"),
        ("build", "trt.BuilderFlag.TF32", "trt.BuilderFlag.FP16"),
        ("build", "builder.create_builder_config()", "builder.build_engine_with_config(1, 2)"),
        ("build", "trt.OnnxParser(network, logger)", "trt.OnnxParser(network)"),
    ],
)
def test_make_check_finds_what_a_version_of_tensorrt_does_not_have(tmp_path, name, right, wrong):
    shutil.copytree(
        REPOSITORY / "vl2_ros",
        tmp_path / "vl2_ros",
        ignore=shutil.ignore_patterns("__pycache__", "embedded"),
    )
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    path = tmp_path / "vl2_ros" / "runtime" / f"tensorrt_{name}.py"
    source = path.read_text()
    assert right in source
    path.write_text(source.replace(right, wrong))
    done = check_tensorrt_files(tmp_path)
    assert done.returncode != 0 and f"tensorrt_{name}.py" in done.stdout, done.stdout


@pytest.mark.skipif(not TENSORRT_STUBS, reason="no signatures of TensorRT beside the repository")
def test_what_uses_tensorrt_fits_every_version_that_is_named():
    assert len(TENSORRT_STUBS) >= 2
    done = check_tensorrt_files(REPOSITORY)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Success") == len(TENSORRT_STUBS)


def test_two_files_alone_import_tensorrt():
    found = {
        path.name
        for path in (REPOSITORY / "vl2_ros").rglob("*.py")
        if re.search(r"^\s*(import|from) tensorrt\b", path.read_text(), flags=re.M)
    }
    assert found == {"tensorrt_build.py", "tensorrt_engine.py"}
