"""Every command block of README runs as it is printed, behind the demo."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
#: Blocks marked `sh` need what is not here: ROS 2, a download.
SHELL = re.findall(r"```bash\n(.*?)```", README, flags=re.S)
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder after `make demo`, whose commands are those of this interpreter."""
    path = tmp_path_factory.mktemp("readme")
    scripts = path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    command = scripts / "vl2"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vl2_ros.cli "$@"\n')
    command.chmod(0o755)
    (scripts / "activate").write_text(f'PATH="{scripts}:$PATH"\n')
    run(path, "vl2 demo")
    return path


def run(folder: Path, script: str) -> None:
    environment = os.environ | {
        "PATH": f"{folder / '.venv/bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    done = subprocess.run(
        # With jobs, as in a terminal; the first command that fails ends it.
        ["bash", "-m", "-e", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("script", [one for one in SHELL if "make demo" not in one])
def test_shell_blocks_run(folder, script):
    run(folder, script)


@pytest.mark.slow
@pytest.mark.parametrize("script", PYTHON)
def test_python_blocks_run(folder, script):
    run(folder, f"\"{sys.executable}\" - <<'END'\n{script}END\n")


def test_blocks_are_found():
    assert len(SHELL) >= 3 and len(PYTHON) == 1
    assert any("vl2 ask" in block for block in SHELL) and any("vl2 serve" in one for one in SHELL)
