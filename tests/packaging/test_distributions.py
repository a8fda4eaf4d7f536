"""The wheel and the sdist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
#: What a clean environment runs from another folder: the front door, and a node over DDS.
FIRST_STEPS = """
import sys
from pathlib import Path
import vl2, vl2_ros
from vl2_ros.recordings.bag import read_frames
package = Path(vl2_ros.__file__).parent
assert Path(sys.prefix) in package.parents, package
frame = next(iter(read_frames(package / "embedded/demo/tabletop.mcap")))
answer = vl2.load()(frame, "find every mug")
assert len(answer.detections) > 0, answer
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command that must succeed; return what it printed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "COV"))}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def find_python(version: str) -> Path | None:
    """Find an interpreter on the path or among pyenv's."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = sorted(root.glob(f"versions/{version}.*/bin/python"))
    named = shutil.which(f"python{version}")
    for place in (*places, *([Path(named)] if named else [])):
        if subprocess.run([place, "-c", "import venv"], check=False).returncode == 0:
            return place
    return None


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Build the sdist from a copy of the tree, and the wheel from the sdist."""
    folder = tmp_path_factory.mktemp("packaging")
    source, dist = folder / "source", folder / "dist"
    shutil.copytree(
        REPOSITORY,
        source,
        ignore=shutil.ignore_patterns(
            ".git", ".venv*", ".*_cache", "*.egg-info", "build", "training_runs", "vl2_demo"
        ),
    )
    run(sys.executable, "-m", "build", "--outdir", dist, ".", cwd=source)
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    return sdist, wheel


@pytest.mark.slow
def test_sdist_holds_every_tracked_file_and_tests_itself(distributions, tmp_path):
    sdist, _ = distributions
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    if (REPOSITORY / ".git").exists():
        tracked = run("git", "ls-files", "-z", cwd=REPOSITORY).split("\0")
        assert [name for name in tracked if name and not (unpacked / name).exists()] == []
    tests = ("tests/structures", "tests/test_api.py", "tests/views", "tests/processing")
    printed = run(sys.executable, "-m", "pytest", "-q", "-m", "not slow", *tests, cwd=unpacked)
    assert re.search(r"[1-9]\d* passed", printed), printed


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(distributions):
    _, wheel = distributions
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {
        "vl2",
        "vl2_ros",
        re.sub(r"-py3.*", ".dist-info", wheel.name),
    }
    here = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "vl2_ros").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert here - set(names) == set()


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
def test_wheel_runs_in_a_clean_environment(version, distributions, tmp_path):
    python = find_python(version)
    if python is None:
        pytest.skip(f"Python {version} is not installed here")
    _, wheel = distributions
    run(python, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    bin_folder = tmp_path / "venv" / "bin"
    pip = (bin_folder / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "pip>=25", cwd=tmp_path)
    constraints = ("--constraint", REPOSITORY / "constraints.txt")
    run(*pip, *constraints, f"{wheel}[dds]", cwd=tmp_path)
    run(bin_folder / "python", "-c", FIRST_STEPS, cwd=tmp_path)
    run(bin_folder / "vl2", "--help", cwd=tmp_path)
    installed = run(*pip[:4], "list", "--format=json", cwd=tmp_path)
    assert "torch" not in {one["name"] for one in json.loads(installed)}


def test_links_of_the_published_description_are_absolute():
    printed = run(sys.executable, "setup.py", "--quiet", "--long-description", cwd=REPOSITORY)
    targets = re.findall(r"\]\(([^)]+)\)", printed)
    assert len(targets) > 10
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
