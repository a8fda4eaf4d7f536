"""The command line run in this process, or in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import jsonschema

from vl2_ros.cli import main
from vl2_ros.views.answer_document import SCHEMA_FILE


def run(*arguments: object) -> int:
    """Run the command line in this process; return its exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def run_beside(*arguments: object) -> subprocess.Popen[str]:
    """Run the command line in a process of its own, in the domain of the test."""
    command = [sys.executable, "-m", "vl2_ros.cli", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


def check_document(document: dict[str, Any]) -> None:
    """Check a printed JSON document against the published schema."""
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
