"""Routes: which decoder answers."""

from __future__ import annotations

from enum import Enum


class Route(Enum):
    """Which decoder answers; the value is the routing token that the LLM emits."""

    ANSWER = ""
    DETECT = "[DET]"
    GROUND = "[GRD]"
    SEGMENT = "[SEG]"
    POSE = "[POSE]"
    GENERATE = "[GEN]"
    EDIT = "[EDIT]"
