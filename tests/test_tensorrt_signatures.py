"""`make check` with TensorRT's own signatures, oldest and newest, finds what does not fit them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
TENSORRT_STUBS = sorted((REPOSITORY.parent / "shared" / "typings").glob("tensorrt-*"))
#: Folder of the files that import it.
BACKEND = Path("vl2_ros", "runtime", "tensorrt_backend")


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


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources; one for all tests, so that mypy reads only what changed."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(
        REPOSITORY / "vl2_ros",
        folder / "vl2_ros",
        ignore=shutil.ignore_patterns("__pycache__", "embedded"),
    )
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    return folder


@pytest.mark.skipif(not TENSORRT_STUBS, reason="no signatures of TensorRT beside the repository")
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        # In no version, in version 10 alone, in version 11 alone, and a wrong argument.
        ("engine", "context.execute_async_v3(handle)", "context.execute_async_v4(handle)"),
        ("build", "trt.BuilderFlag.TF32", "trt.BuilderFlag.FP16"),
        ("build", "builder.create_builder_config()", "builder.build_engine_with_config(1, 2)"),
        ("build", "trt.OnnxParser(network, cast(Any, logger))", "trt.OnnxParser(network)"),
    ],
)
def test_make_check_finds_what_a_version_of_tensorrt_does_not_have(copy, name, right, wrong):
    path = copy / BACKEND / f"{name}.py"
    source = path.read_text()
    assert right in source
    path.write_text(source.replace(right, wrong))
    try:
        done = check_tensorrt_files(copy)
    finally:
        path.write_text(source)
    assert done.returncode != 0 and f"{BACKEND}/{name}.py" in done.stdout, done.stdout


@pytest.mark.skipif(not TENSORRT_STUBS, reason="no signatures of TensorRT beside the repository")
def test_what_uses_tensorrt_fits_every_version_that_is_named():
    assert len(TENSORRT_STUBS) >= 2
    done = check_tensorrt_files(REPOSITORY)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Success") == len(TENSORRT_STUBS)


def test_one_function_alone_imports_tensorrt():
    importing, loading = set(), set()
    for path in (REPOSITORY / "vl2_ros").rglob("*.py"):
        source, name = path.read_text(), path.relative_to(REPOSITORY)
        if re.search(r"^\s*(import|from) tensorrt", source, flags=re.M):
            importing.add(name)
            # For mypy alone.
            assert re.findall(r"^.*\n\s*(?:import|from) tensorrt.*$", source, flags=re.M) == [
                "if TYPE_CHECKING:\n    import tensorrt as trt"
            ], name
        if "import_module(self.module)" in source:
            loading.add(name)
    assert {name.parent for name in importing} == {BACKEND}
    assert loading == {BACKEND / "library.py"}
