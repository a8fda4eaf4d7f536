"""Say what a measurement is of: the model, its backend and the precision that it answers in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vl2_ros.console import display

if TYPE_CHECKING:
    from vl2_ros.flow.pipeline import Pipeline
    from vl2_ros.load_options import LoadOptions


def show_measured(pipeline: Pipeline, options: LoadOptions) -> None:
    """Print a line on standard error, such as `measured: embedded on onnxruntime, cpu, int8`."""
    info = pipeline.info
    known = (info.backend, info.device, _find_precision(pipeline, options))
    display.show_note(f"measured: {info.name} on {', '.join(one for one in known if one)}")


def _find_precision(pipeline: Pipeline, options: LoadOptions) -> str:
    """Return the precision of the engines in the checkpoint's folder; empty where others answer."""
    from vl2_ros.documents import is_file
    from vl2_ros.loading import find_weights
    from vl2_ros.runtime.files.engine_files import FILE_NAME, read_engine_files

    folder = find_weights(options)
    identity = pipeline.engines.language_model.info.identity
    if not identity or not is_file(folder / FILE_NAME):
        return ""
    files = read_engine_files(folder)
    for precision in files.precisions:
        engine = files.in_precision(precision).graphs["language_model"]
        if engine.sha256.startswith(identity):
            return precision
    return ""
