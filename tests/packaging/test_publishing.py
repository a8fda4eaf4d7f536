"""The site, the notebook, the images of Docker and the workflows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def run(*command: str | Path) -> None:
    """Run a command that must succeed."""
    result = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    run(sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path)
    pages = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("index.html")}
    assert {".", "node", "cli", "ARCHITECTURE", "spec/core"} <= pages
    start = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'href="node/"' in start and 'src="answer.jpg"' in start


def test_notebook_runs():
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    for path in sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        assert all(not cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
        client.NotebookClient(notebook, timeout=120).execute()
        outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
        assert any("image/png" in out.get("data", {}) for out in outputs)


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "docker").glob("*.Dockerfile")), ids=lambda path: path.name
)
def test_dockerfile_has_no_lint(path):
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed")
    run(hadolint, path)


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / ".github/workflows").glob("*.yml")), ids=lambda path: path.name
)
def test_workflow_names_what_is_there(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["jobs"] and True in workflow  # YAML reads the key `on` as True
    for job in workflow["jobs"].values():
        assert job["runs-on"] and job["steps"]
        assert set(job.get("needs", "").split()) <= set(workflow["jobs"])
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step
