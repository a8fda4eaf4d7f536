"""Ask images in words: `vl2.load()` gives a model, the model gives answers.

    import vl2

    model = vl2.load()
    answer = model("table.jpg", "find the red mug")
    print(answer.text, answer.detections)

The package is `vl2_ros`; this one is its front door (`vl2_ros/api.py`), see docs/python.md.
"""

from vl2_ros.api import Answer, Model, load
from vl2_ros.errors import InputError, VL2Error
from vl2_ros.structures import Command, Detections, Frame, ImageOptions, Route, VisualPrompt

__all__ = [
    "Answer",
    "Command",
    "Detections",
    "Frame",
    "ImageOptions",
    "InputError",
    "Model",
    "Route",
    "VL2Error",
    "VisualPrompt",
    "load",
]
