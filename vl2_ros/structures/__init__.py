"""Typed values that are passed between layers: Frame, Command, Route, Detections, Result, events.

numpy only; knows no tensor, no ROS message and no file.
"""

from vl2_ros.structures.command import (
    MAX_COMMAND_CHARACTERS,
    MAX_FURTHER_IMAGES,
    MAX_POINTS,
    MAX_VISUAL_PROMPTS,
    Command,
)
from vl2_ros.structures.detections import UNLABELLED, Detections, Keypoints, LabelMap
from vl2_ros.structures.events import Event, ProgressEvent, ResultEvent, StageEvent, TextEvent
from vl2_ros.structures.frame import MAX_FRAME_PIXELS, Frame
from vl2_ros.structures.image_options import SCHEDULERS, ImageOptions
from vl2_ros.structures.masks import MaskCrop, Masks
from vl2_ros.structures.result import Branch, GeneratedImage, ModelInfo, Result
from vl2_ros.structures.route import Route
from vl2_ros.structures.run_lengths import RunLengths
from vl2_ros.structures.tracking import TrackingOptions
from vl2_ros.structures.visual_prompt import PROMPT_POINTS, PromptKind, VisualPrompt
from vl2_ros.structures.watching import WatchMode, WatchOptions

__all__ = [
    "MAX_COMMAND_CHARACTERS",
    "MAX_FRAME_PIXELS",
    "MAX_FURTHER_IMAGES",
    "MAX_POINTS",
    "MAX_VISUAL_PROMPTS",
    "PROMPT_POINTS",
    "SCHEDULERS",
    "UNLABELLED",
    "Branch",
    "Command",
    "Detections",
    "Event",
    "Frame",
    "GeneratedImage",
    "ImageOptions",
    "Keypoints",
    "LabelMap",
    "MaskCrop",
    "Masks",
    "ModelInfo",
    "ProgressEvent",
    "PromptKind",
    "Result",
    "ResultEvent",
    "Route",
    "RunLengths",
    "StageEvent",
    "TextEvent",
    "TrackingOptions",
    "VisualPrompt",
    "WatchMode",
    "WatchOptions",
]
