"""The embedded engines: which graphs have exports of their own for the int8 forms."""

from __future__ import annotations

from pathlib import Path

from vl2_ros.export import embedded_engines
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.model.decoders.attention.deformable_sampling import exports_for_cpu


def test_forms_of_decoders_are_made_from_exports_for_the_cpu(monkeypatch):
    exported: list[tuple[Path, tuple[str, ...], bool]] = []
    given: dict[str, Path] = {}

    def export(weights: Path, out: Path, graphs=None, *, progress=None) -> None:
        exported.append((out, tuple(graphs or ()), exports_for_cpu()))

    def add(folder: Path, progress, *, sources: dict[str, Path]) -> str:
        given.update(sources)
        return "agreement"

    monkeypatch.setattr(embedded_engines, "export_engines", export)
    monkeypatch.setattr(embedded_engines, "add_int8_forms", add)
    assert embedded_engines.export_embedded(EMBEDDED_WEIGHTS) == "agreement"
    whole, decoder = exported
    assert whole == (EMBEDDED_WEIGHTS, (), False), "float32 graphs serve TensorRT as well"
    assert decoder[1:] == (("detection_decoder",), True)
    assert given == {"detection_decoder": decoder[0] / "detection_decoder.onnx"}
