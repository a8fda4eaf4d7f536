from __future__ import annotations

import pytest

from vl2_ros.console.evaluation.measured_model import show_measured
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_measurement_says_which_precision_it_is_of(precision, capsys):
    options = LoadOptions(device="cpu", backend="onnxruntime", precision=precision)
    show_measured(load_pipeline(options), options)
    assert capsys.readouterr().err == f"measured: embedded on onnxruntime, cpu, {precision}\n"


def test_weights_that_answer_themselves_have_no_engines_to_name(capsys):
    options = LoadOptions(device="cpu", backend="torch")
    show_measured(load_pipeline(options), options)
    assert capsys.readouterr().err == "measured: embedded on torch, cpu\n"
