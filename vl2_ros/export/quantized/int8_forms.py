"""Add int8 forms of all graphs to a checkpoint folder that has float32 ones.

    <graph>.int8.onnx     beside the checkpoint; `engines.json` lists them under `forms`

A CPU with units for it answers with them. They are made from float32 graphs, by default those in
the folder, and from what goes through these in use, so torch is not needed; and written only if
answers agree: routes, and what the decoders find.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.documents import read_json_object
from vl2_ros.errors import EngineError
from vl2_ros.export.quantized.calls import RecordingEngine, draw_commands, record_calls
from vl2_ros.export.quantized.cpu_operators import rewrite_file
from vl2_ros.export.quantized.fixed_scales import quantise_fixed
from vl2_ros.export.store_files import hash_file, mapped_writes, write_json, written_whole
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.loading import load_processing
from vl2_ros.model.graphs import QUANTISED
from vl2_ros.processing.language.tokenizer import load_tokenizer
from vl2_ros.runtime.engine import Engine
from vl2_ros.runtime.files.answer_gate import Agreement, match_instances
from vl2_ros.runtime.files.engine_files import FILE_NAME, EngineFile, EngineFiles, read_engine_files
from vl2_ros.runtime.files.exported_engines import LoadEngine, load_exported_engines
from vl2_ros.runtime.files.parity_gate import describe_misses, judge_agreement
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine, optimise_graph
from vl2_ros.structures import Result

PRECISION = QUANTISED[0]
#: Frames whose answers are compared, the first of their scenes, and commands about each.
_FRAMES, _FIRST_SEED, _COMMANDS = 40, 3_200_000, 10
#: Instances as they are published, and what may be the counterpart of one.
_LEAST_SCORE, _COUNTERPART_SCORE = 0.3, 0.15
_ROUTING = re.compile(r"\[[A-Z]+\]")
#: Called with what is done, and its share, 0 to 1.
Progress = Callable[[str, float], None]


def add_int8_forms(
    folder: Path,
    progress: Progress = lambda _what, _share: None,
    *,
    sources: Mapping[str, Path] | None = None,
) -> Agreement:
    """Write the int8 form of each graph of a checkpoint that commands use, beside the float32 one.

    Args:
        folder: of the checkpoint, with `engines.json` and the graphs that it names.
        progress: called with what is done.
        sources: graph -> float32 file of the same network that its form is made of, in the place
            of that in the folder.

    Returns:
        How far answers are those of float32.

    Raises:
        ConfigError: if the simulator is not installed.
        EngineError: if the folder has no float32 graphs, one cannot be rounded, answers differ by
            more than the gate allows, or the folder cannot be written.
    """
    files = read_engine_files(folder)
    files = replace(files.in_precision("float32"), forms={})
    with tempfile.TemporaryDirectory() as temporary:
        forms = _write_forms(files, Path(temporary), progress, sources or {})
        rounded = replace(files, graphs={**files.graphs, **forms})
        agreement = compare_answers(_open(files, OnnxEngine), _open(rounded, OnnxEngine), progress)
        _check_agreement(folder, agreement)
        _publish(files, forms, agreement)
    return agreement


def compare_answers(
    expected: Pipeline, given: Pipeline, progress: Progress = lambda _what, _share: None
) -> Agreement:
    """Ask two pipelines the same about simulated frames that are used for nothing else.

    Args:
        expected: whose answers are right.
        given: whose answers are compared with them.
        progress: called with the share that is done.
    """
    same_routes = same_answers = instances = commands = 0
    overlaps: list[float] = []
    for frame, command in draw_commands(_FIRST_SEED, _FRAMES, _COMMANDS):
        right = expected.answer(frame, replace(command, score_threshold=_LEAST_SCORE))
        other = given.answer(frame, replace(command, score_threshold=_COUNTERPART_SCORE))
        commands += 1
        same_answers += right.raw_text == other.raw_text
        if _routes_of(right) == _routes_of(other):
            same_routes += 1
            for one, two in zip(right.branches, other.branches, strict=True):
                instances += len(one.detections)
                overlaps += match_instances(one.detections, two.detections)
        progress(f"comparing {PRECISION} with float32", commands / (_FRAMES * _COMMANDS))
    iou = float(np.mean(overlaps)) if overlaps else 1.0
    lost = instances - len(overlaps)
    return Agreement(commands, same_routes, same_answers, instances, lost, iou)


def _routes_of(result: Result) -> list[str]:
    return _ROUTING.findall(result.raw_text)


def _write_forms(
    files: EngineFiles, out: Path, progress: Progress, sources: Mapping[str, Path]
) -> dict[str, EngineFile]:
    """Write the int8 form of each graph that commands use to a temporary folder."""
    recorders: dict[str, RecordingEngine] = {}

    def load(file: EngineFile) -> Engine:
        recorders[file.name] = RecordingEngine(OnnxEngine(file))
        return recorders[file.name]

    pipeline = _open(files, load)
    record_calls(pipeline, lambda done, of: progress("measuring activations", done / of))
    used = {name: one.calls for name, one in recorders.items() if one.calls}
    forms = {}
    for index, (name, calls) in enumerate(used.items()):
        progress(f"rounding {name}", index / len(used))
        source, path = files.graphs[name], out / f"{name}.{PRECISION}.onnx"
        folded = out / f"{name}.folded.onnx"
        optimise_graph(sources.get(name, source.path), folded, is_fused=False)
        rewrite_file(folded)
        quantise_fixed(folded, path, calls)
        forms[name] = replace(
            source, path=path, sha256=hash_file(path), precision=PRECISION, weights=None
        )
    return forms


def _open(files: EngineFiles, load: LoadEngine) -> Pipeline:
    """Return a pipeline of engines; it computes on the CPU, with ONNX Runtime."""
    tokenizer = load_tokenizer(files.folder)
    engines = load_exported_engines(files, tokenizer.tokens, load)
    return Pipeline(engines, tokenizer, load_processing(files.folder))


def _check_agreement(folder: Path, agreement: Agreement) -> None:
    misses = judge_agreement(agreement)
    if any(one.is_over for one in misses):
        raise EngineError(
            f"{PRECISION} engines of {folder} answer too differently from float32 and were not "
            f"written: {describe_misses(misses)}; the checkpoint stays with float32"
        )


def _publish(files: EngineFiles, forms: Mapping[str, EngineFile], agreement: Agreement) -> None:
    """Put the forms beside the float32 graphs, and list them; the list is written last."""
    index = files.folder / FILE_NAME
    document = read_json_object(index, EngineError)
    entries: dict[str, Any] = {}
    with mapped_writes(files.folder):
        for name, form in forms.items():
            with written_whole(files.folder / form.path.name) as part:
                shutil.copyfile(form.path, part)
            entry = {"file": form.path.name, "sha256": form.sha256, "precision": PRECISION}
            kept = {key: document["graphs"][name][key] for key in ("opset", "axes")}
            entries[name] = entry | kept
    listed = {**document.get("forms", {}), PRECISION: entries}
    found = {**document.get("agreement", {}), PRECISION: asdict(agreement)}
    write_json(index, document | {"forms": listed, "agreement": found})
    for old in files.folder.glob(f"*.{PRECISION}.onnx"):
        if old.name.removesuffix(f".{PRECISION}.onnx") not in forms:
            old.unlink()
