"""Install the package into a fresh environment and weigh it, package by package.

    python benchmarks/installed_size.py [--extras dds]

Needs a package index. Also counts what pip and the environment itself bring.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LARGEST = 12


def weigh(folder: Path) -> float:
    """Return the megabytes of the files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    """Install, weigh and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extras", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "venv"
        venv.create(environment, with_pip=True)
        target = f"{REPOSITORY}[{options.extras}]" if options.extras else str(REPOSITORY)
        constraints = ["--constraint", str(REPOSITORY / "constraints.txt")]
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *constraints, target], check=True)
        (packages,) = environment.glob("lib/python*/site-packages")
        parts = {path.name: round(weigh(path), 1) for path in packages.iterdir() if path.is_dir()}
        largest = sorted(parts.items(), key=lambda part: -part[1])[:LARGEST]
        document = {"installed_mb": round(weigh(environment)), "largest_mb": dict(largest)}
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
