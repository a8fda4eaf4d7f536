from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "vl2_ros"

#: Modules that must import where torch is not installed.
TORCH_FREE = sorted(
    {
        "vl2_ros.cli",
        "vl2_ros.errors",
        "vl2_ros.geometry",
        "vl2_ros.loading",
        "vl2_ros.flow.pipeline",
        "vl2_ros.structures",
        "vl2_ros.datasets.tabletop",
        "vl2_ros.export.build_engines",
        "vl2_ros.export.engine_builders",
        "vl2_ros.export.engine_profile",
        "vl2_ros.export.engine_store",
        "vl2_ros.model.config",
        "vl2_ros.model.graphs",
        "vl2_ros.model.detection.config",
        "vl2_ros.model.diffusion.config",
        "vl2_ros.model.language.slots",
        "vl2_ros.model.language.tokens",
        "vl2_ros.flow.branches",
        "vl2_ros.runtime.engine",
        "vl2_ros.runtime.tensorrt_backend.build_progress",
        "vl2_ros.runtime.files.engine_files",
        "vl2_ros.runtime.files.engine_folders",
        "vl2_ros.runtime.files.exported_engines",
        "vl2_ros.flow.generate",
        "vl2_ros.runtime.graph_inputs",
        "vl2_ros.runtime.language.graph_language",
        "vl2_ros.runtime.lazy",
        "vl2_ros.flow.generated_images",
        "vl2_ros.runtime.tensorrt_backend.trusted_plans",
        *(f"vl2_ros.console.{path.stem}" for path in (PACKAGE / "console").glob("[!_]*.py")),
        *(f"vl2_ros.isolation.{path.stem}" for path in (PACKAGE / "isolation").glob("[!_]*.py")),
        *(f"vl2_ros.node.{path.stem}" for path in (PACKAGE / "node").glob("[!_]*.py")),
        *(f"vl2_ros.processing.{path.stem}" for path in (PACKAGE / "processing").glob("[!_]*.py")),
        *(f"vl2_ros.sim.{path.stem}" for path in (PACKAGE / "sim").glob("[!_]*.py")),
        *(f"vl2_ros.transports.{path.stem}" for path in (PACKAGE / "transports").glob("[!_]*.py")),
    }
)


def run_blocked(blocked: list[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process where importing the blocked packages fails."""
    block = f"import sys\nfor name in {blocked!r}:\n    sys.modules[name] = None\n"
    return subprocess.run(
        [sys.executable, "-c", block + code], capture_output=True, text=True, cwd=REPOSITORY
    )


def test_import_contracts_hold():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_modules_without_tensors_import_without_torch():
    blocked = ["torch", "transformers", "onnxruntime", "tensorrt", "rclpy", "cyclonedds"]
    code = "import importlib\n" + "".join(
        f"importlib.import_module({name!r})\n" for name in TORCH_FREE
    )
    done = run_blocked(blocked, code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["errors", "structures", "geometry"])
def test_lowest_layers_need_numpy_alone(name):
    blocked = ["torch", "transformers", "cv2", "PIL", "scipy", "rosbags", "tokenizers", "rich"]
    done = run_blocked(blocked, f"import vl2_ros.{name}")
    assert done.returncode == 0, done.stderr


def test_engines_of_onnx_runtime_import_without_torch():
    blocked = ["torch", "transformers", "diffusers", "onnx", "tensorrt"]
    done = run_blocked(blocked, "import vl2_ros.runtime.onnxruntime_backend.engine")
    assert done.returncode == 0, done.stderr


def test_one_file_imports_onnx_runtime():
    importing = re.compile(r"^\s*(import|from) onnxruntime\b", flags=re.M)
    files = [path for path in PACKAGE.rglob("*.py") if importing.search(path.read_text())]
    assert files == [PACKAGE / "runtime" / "onnx_engine.py"]


def test_the_blocking_itself_works():
    done = run_blocked(["torch"], "import vl2_ros.model.network")
    assert done.returncode != 0 and "torch" in done.stderr


def test_package_markers_are_empty():
    # `structures` is one vocabulary in several files; whoever uses it need not know which.
    for path in set(PACKAGE.rglob("__init__.py")) - {PACKAGE / "structures" / "__init__.py"}:
        assert path.read_text() == "", f"{path} must stay empty"


def test_every_folder_of_modules_is_a_package():
    for folder in {path.parent for path in PACKAGE.rglob("*.py")}:
        assert (folder / "__init__.py").exists(), f"{folder} has no __init__.py"


def test_no_module_is_a_drawer():
    drawers = {"utils", "common", "misc", "helpers", "base", "core", "manager"}
    for path in PACKAGE.rglob("*.py"):
        assert path.stem not in drawers, path
