"""Verify engines that were compiled where they could not run: on stored calls, at their first load.

    <engine>.sample0.npz      a call with torch's outputs; `engines.json` has its hash
    <engine>.answers.npz      commands and answers, of a quantised language model
    <engine>.verified.json    the devices on which the engine passed, with what it missed by

An engine of this kind answers on a device only after it passed there, or where that is waived by
option. Where the folder cannot be written it is verified at each start.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl2_ros.documents import is_file, read_json_object
from vl2_ros.errors import EngineError
from vl2_ros.runtime.engine import Engine
from vl2_ros.runtime.files.answer_gate import script_path
from vl2_ros.runtime.files.engine_files import EngineFile
from vl2_ros.runtime.files.parity_gate import (
    OutputMiss,
    compare_calls,
    describe_misses,
    measure_answers,
)

#: State of an engine that has not passed on any device.
UNVERIFIED = "compiled, not verified"
_SUFFIX = ".verified.json"

_log = logging.getLogger(__name__)

#: Called with what is verified, and the share that is done, 0 to 1.
LoadListener = Callable[[str, float], None]


def record_path(file: EngineFile) -> Path:
    """Return where the devices are listed on which an engine passed: beside it."""
    return file.path.with_suffix(_SUFFIX)


def find_verified(file: EngineFile) -> Mapping[str, Any]:
    """Return on which devices an engine passed: library and device -> when, and its misses.

    A record that is damaged, or of an engine with other bytes, counts as none.
    """
    if not is_file(record_path(file)):
        return {}
    try:
        document = read_json_object(record_path(file), EngineError)
    except EngineError:
        return {}
    machines = document.get("machines")
    is_ours = document.get("engine") == file.sha256 and isinstance(machines, dict)
    return dict(machines) if is_ours and isinstance(machines, dict) else {}


def record_verified(file: EngineFile, machine: str, misses: Sequence[OutputMiss]) -> None:
    """Remember that an engine passed on a device.

    Args:
        file: the engine.
        machine: library and device, such as `tensorrt-rtx 1.7.1 on NVIDIA L4 sm_89`.
        misses: how far each output was from torch's.

    Raises:
        OSError: if the folder cannot be written.
    """
    entry = {"verified_at": time.time(), "misses": [one.to_json() for one in misses]}
    document = {"engine": file.sha256, "machines": {**find_verified(file), machine: entry}}
    text = json.dumps(document, indent=1) + "\n"
    path = record_path(file)
    # Two processes may verify at once: each writes its own file, the last one stays.
    own = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        own.write_text(text, encoding="utf-8")
        own.replace(path)
    finally:
        own.unlink(missing_ok=True)


@dataclass(slots=True)
class FirstLoad:
    """Loads engines; those that have not passed on this device are verified before they answer.

    Attributes:
        load: loads one engine.
        machine: library and device.
        is_required: false: unverified engines answer as well, with a warning.
        progress: called while engines are verified.
    """

    load: Callable[[EngineFile], Engine]
    machine: str
    is_required: bool = True
    progress: LoadListener = lambda _what, _share: None
    _is_said: bool = False

    def __call__(self, file: EngineFile) -> Engine:
        """Load one engine, ready to answer.

        Raises:
            EngineError: as `load` and `verify` raise.
        """
        if not file.samples or self.machine in find_verified(file):
            return self.load(file)
        if self.is_required:
            return self.verify(file)[0]
        _log.warning("%s is %s and answers all the same, as verify is off", file.path, UNVERIFIED)
        return self.load(file)

    def verify(self, file: EngineFile) -> tuple[Engine, tuple[OutputMiss, ...]]:
        """Load an engine, run it on the calls that are stored beside it, and record that it passed.

        Returns:
            The engine, and the largest miss of each output.

        Raises:
            EngineError: as `load` raises, if a call is missing or damaged, the engine fails, or an
                output is too far from torch's.
        """
        file.check_samples()
        engine = self.load(file)
        what = f"verifying {file.name} on {self.machine}"
        _log.info("%s, where it has not run before", what)
        answers = script_path(file.path)
        calls = [path for path, _ in file.samples if path != answers]
        if not calls:
            raise EngineError(
                f"{file.path} has no stored calls to be verified with; copy its folder again, or "
                "build it again with `vl2 engines build`"
            )
        misses = compare_calls(
            engine, calls, file.precision, lambda done, total: self.progress(what, done / total)
        )
        if len(calls) < len(file.samples):
            # Boxes would need the exported decoder, which may stay on the machine that built it.
            misses += measure_answers(engine, file, None)
        over = [one for one in misses if one.is_over]
        if over:
            raise EngineError(
                f"{file.path} ({file.precision}) is too far from torch on {self.machine} and does "
                f"not answer: {describe_misses(over)}; build {file.name} with a wider precision "
                "in the profile, or use the backend onnxruntime or torch"
            )
        self._record(file, misses)
        return engine, tuple(misses)

    def _record(self, file: EngineFile, misses: Sequence[OutputMiss]) -> None:
        _log.info("%s passed: %s", file.name, describe_misses(misses))
        try:
            record_verified(file, self.machine, misses)
        except OSError as error:
            if not self._is_said:
                _log.warning(
                    "%s cannot be written (%s): its engines are verified at each start",
                    file.path.parent,
                    error.strerror or error,
                )
            self._is_said = True
