from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "vl2_ros"
MOST_FILES = 16
#: Outside of its own folder, those that name the pose branch.
MOST_FILES_OF_A_BRANCH = 8

TORCH_FREE_FILES = (
    "cli.py",
    "errors.py",
    "geometry.py",
    "loading.py",
    "datasets/tabletop.py",
    "export/build_engines.py",
    "export/engine_builders.py",
    "export/engine_profile.py",
    "export/engine_store.py",
    "model/config.py",
    "model/graphs.py",
    "model/parts.py",
    "model/detection/config.py",
    "model/diffusion/config.py",
    "model/language/slots.py",
    "model/language/tokens.py",
    "model/pose/config.py",
    "runtime/engine.py",
    "runtime/graph_inputs.py",
    "runtime/lazy.py",
    "runtime/tensorrt_backend/build.py",
    "runtime/tensorrt_backend/build_progress.py",
    "runtime/tensorrt_backend/library.py",
    "runtime/tensorrt_backend/trusted_plans.py",
)
TORCH_FREE_FOLDERS = (
    "clients",
    "console",
    "datasets/reading",
    "datasets/sources",
    "flow",
    "isolation",
    "node",
    "processing",
    "recordings",
    "runtime/files",
    "runtime/language",
    "sim",
    "speech",
    "structures",
    "tracking",
    "transports/memory.py",
    "transports/message_types.py",
    "views",
)
#: Of the files in those folders, what needs the DDS library at once.
NEEDS_DDS: frozenset[str] = frozenset()


def list_torch_free() -> list[str]:
    """Names of the modules that must import where torch is not installed."""
    paths = [PACKAGE / name for name in TORCH_FREE_FILES]
    for name in TORCH_FREE_FOLDERS:
        path = PACKAGE / name
        paths += [path] if path.suffix else path.rglob("[!_]*.py")
    assert all(path.is_file() for path in paths)
    relative = (path.relative_to(REPOSITORY).with_suffix("") for path in paths)
    return sorted({".".join(path.parts) for path in relative} - NEEDS_DDS)


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
    blocked = [
        "torch",
        "transformers",
        "onnxruntime",
        "tensorrt",
        "tensorrt_rtx",
        "rclpy",
        "cyclonedds",
        "faster_whisper",
        "sounddevice",
        "soundfile",
        "soxr",
    ]
    code = "import importlib\n" + "".join(
        f"importlib.import_module({name!r})\n" for name in list_torch_free()
    )
    done = run_blocked(blocked, code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["errors", "structures", "geometry"])
def test_lowest_layers_need_numpy_alone(name):
    blocked = ["torch", "transformers", "cv2", "PIL", "scipy", "rosbags", "tokenizers", "rich"]
    done = run_blocked(blocked, f"import vl2_ros.{name}")
    assert done.returncode == 0, done.stderr


def test_engines_of_onnx_runtime_import_without_torch():
    blocked = ["torch", "transformers", "diffusers", "onnx", "tensorrt", "tensorrt_rtx"]
    done = run_blocked(blocked, "import vl2_ros.runtime.onnxruntime_backend.engine")
    assert done.returncode == 0, done.stderr


def test_one_file_imports_onnx_runtime():
    importing = re.compile(r"^\s*(import|from) onnxruntime\b", flags=re.M)
    files = [path for path in PACKAGE.rglob("*.py") if importing.search(path.read_text())]
    assert files == [PACKAGE / "runtime" / "onnxruntime_backend" / "engine.py"]


def test_the_server_of_the_page_is_imported_when_a_page_is_opened():
    blocked = ["starlette", "uvicorn", "websockets"]
    done = run_blocked(blocked, "import vl2_ros.cli, vl2_ros.clients.live_view")
    assert done.returncode == 0, done.stderr
    done = run_blocked(blocked, "from vl2_ros.cli import main; main(['view', '--domain', '77'])")
    assert done.returncode == 2 and "pip install 'vl2_ros[view]'" in done.stderr


def test_the_blocking_itself_works():
    done = run_blocked(["torch"], "import vl2_ros.model.network")
    assert done.returncode != 0 and "torch" in done.stderr


def test_package_markers_say_one_sentence_and_no_code():
    # `structures` is one vocabulary in several files; its users need not know which.
    for path in set(PACKAGE.rglob("__init__.py")) - {PACKAGE / "structures" / "__init__.py"}:
        (statement,) = ast.parse(path.read_text()).body
        assert isinstance(statement, ast.Expr), f"{path} holds code"
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} says nothing"


def test_folders_are_small():
    for folder in (PACKAGE, REPOSITORY / "tests", REPOSITORY / "benchmarks"):
        for one in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            count = len(list(one.glob("*.py")))
            assert count <= MOST_FILES, f"{one} has {count} Python files"


def test_every_folder_of_modules_is_a_package():
    for folder in {path.parent for path in PACKAGE.rglob("*.py")}:
        assert (folder / "__init__.py").exists(), f"{folder} has no __init__.py"


def test_one_branch_is_known_by_name_in_few_files():
    """A decoder is a row of `model/parts.py` and of `flow/branches.py`, and its own folder."""
    named = re.compile(r"\[POSE\]|Route\.POSE|pose_decoder")
    files = {
        path.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*.py")
        if named.search(path.read_text(encoding="utf-8"))
    }
    outside = {path for path in files if path.parts[:2] != ("model", "pose")}
    assert {Path("model/parts.py"), Path("flow/branches.py")} <= outside
    assert len(outside) <= MOST_FILES_OF_A_BRANCH, sorted(map(str, outside))


def test_the_node_catches_everything_in_one_file_alone():
    broad = re.compile(r"^\s*except( \(?(Base)?Exception\b.*)?:", flags=re.M)
    folders = ("node", "flow", "processing", "structures")
    files = {
        str(path.relative_to(PACKAGE))
        for folder in folders
        for path in (PACKAGE / folder).rglob("*.py")
        if broad.search(path.read_text(encoding="utf-8"))
    }
    # The second reads a tokenizer with a library that raises anything.
    assert files == {"node/guarded.py", "processing/language/tokenizer.py"}


def test_no_module_is_a_drawer():
    drawers = {"utils", "common", "misc", "helpers", "base", "core", "manager"}
    for path in PACKAGE.rglob("*.py"):
        assert path.stem not in drawers, path
