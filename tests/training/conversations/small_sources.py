"""Small sources of every group: coloured squares on noise, and what is said about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from vl2_ros.datasets.mixture import Mixture, MixturePart
from vl2_ros.datasets.samples import (
    Group,
    LabelledObjects,
    LabelledPoses,
    TargetImage,
    TrainingSample,
)
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.structures import Frame

#: Becomes 60x90 on a canvas of 64x96 at the decoders, 2 tiles and the whole for the LLM.
FRAME_HW = (80, 120)
PROCESSING = ProcessingConfig(
    vision_side=56,
    vision_tokens=16,
    max_tiles=2,
    decoder_short=60,
    decoder_long=90,
    segment_short=48,
    segment_long=72,
    num_embs=4,
    num_embs_gen=6,
    max_length=2048,
    max_classes=16,
    system="",
)
POINTS = ("left edge", "right edge", "middle")
COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}


def make_network(tokenizer, **parts) -> VisionLLM:
    """The smallest network with every part, with random weights."""
    torch.manual_seed(0)
    tiny = ModelConfig.tiny(**({"with_pose": True, "with_images": True} | parts))
    llm = {**tiny.llm, "vocab_size": tokenizer.vocab_size, "max_position_embeddings": 2048}
    return VisionLLM(replace(tiny, llm=llm, table_init_std=0.02), tokenizer.tokens)


def draw_scene(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rgb, boxes (2, 4) and masks (2, H, W) of a red and a blue square."""
    rng = np.random.default_rng((7, index))
    height, width = FRAME_HW
    rgb = rng.integers(90, 140, (height, width, 3), dtype=np.uint8)
    boxes, masks = [], []
    for column, colour in enumerate(COLOURS.values()):
        side = int(rng.integers(20, 40))
        x = int(rng.integers(width // 2 - side)) + column * width // 2
        y = int(rng.integers(height - side))
        rgb[y : y + side, x : x + side] = colour
        mask = np.zeros(FRAME_HW, np.bool_)
        mask[y : y + side, x : x + side] = True
        boxes.append((x, y, x + side, y + side))
        masks.append(mask)
    return rgb, np.array(boxes, np.float32), np.stack(masks)


@dataclass(frozen=True)
class SmallSource:
    """Eight scenes, written in the form of one group.

    `kind` is a group's value, or `regions` for chat about regions, `prompts` for detection by
    regions, `context` for an example image before the image.
    """

    kind: str
    name: str = "small"

    def __len__(self) -> int:
        return 8

    @property
    def group(self) -> Group:
        return self.sample(0, np.random.default_rng(0)).group

    @property
    def label_names(self) -> tuple[str, ...]:
        squares = tuple(f"{colour} square" for colour in COLOURS)
        return {"detection": squares, "pose": (*squares, *POINTS)}.get(self.kind, ())

    def sample(self, index: int, rng: np.random.Generator) -> TrainingSample:
        rgb, boxes, masks = draw_scene(index)
        frame = Frame(rgb)
        order = [int(one) for one in rng.permutation(2)]
        names = [f"{list(COLOURS)[one]} square" for one in order]
        classes = np.array([order.index(0), order.index(1)], np.int64)
        objects = LabelledObjects(boxes, classes, masks)
        key = f"{self.kind}/{index}"
        if self.kind == "text":
            rounds = (("What is there?", f"A {names[0]}."), ("And?", f"A {names[1]}."))
            return TrainingSample(Group.TEXT, rounds, (frame,), key=key)
        if self.kind == "blind":
            return TrainingSample(Group.TEXT, (("Hello.", "Hello, how are you?"),), key=key)
        if self.kind == "regions":
            placeholders = "<reg>region1<region></reg>, <reg>region2<region></reg>"
            rounds = ((f"What are {placeholders}?", "Red square. Blue square."),)
            return TrainingSample(Group.TEXT, rounds, (frame,), tuple(masks), (0, 0), None, key)
        if self.kind == "prompts":
            rounds = (("Find <reg>region1<region></reg>.", "region1[DET]."),)
            one = LabelledObjects(boxes[:1], np.zeros(1, np.int64), masks[:1])
            return TrainingSample(Group.DETECTION, rounds, (frame,), (masks[0],), (0,), one, key)
        if self.kind == "context":
            example, _, marked = draw_scene(index + 100)
            rounds = (("Like <reg>region<region></reg>: where in the last one?", "Here[DET]."),)
            one = LabelledObjects(boxes[:1], np.zeros(1, np.int64), masks[:1])
            images = (Frame(example), frame)
            return TrainingSample(Group.DETECTION, rounds, images, (marked[0],), (0,), one, key)
        if self.kind == "detection":
            answer = ", ".join(f"{name}[DET]" for name in names)
            rounds = ((f"Find {', '.join(names)}.", f"I found: {answer}."),)
            return TrainingSample(
                Group.DETECTION, rounds, (frame,), targets=objects, key=key, names=tuple(names)
            )
        if self.kind == "pose":
            answer = ", ".join(f"{name}[DET]" for name in names)
            rounds = (
                (
                    f"Find every {', '.join(names)} and its left edge, right edge and middle.",
                    f"I found: {answer}. They are here: left edge[POSE], right edge[POSE], "
                    "middle[POSE].",
                ),
            )
            poses = make_poses(boxes, classes)
            return TrainingSample(
                *(Group.POSE, rounds, (frame,)), targets=poses, key=key, names=(*names, *POINTS)
            )
        target = TargetImage(np.roll(rgb, 5, axis=0), "two squares")
        if self.kind == "generation":
            rounds = (("Draw two squares.", "Here: [GEN]."),)
            return TrainingSample(Group.GENERATION, rounds, targets=target, key=key)
        rounds = (("Move them down.", "Done: [EDIT]."),)
        return TrainingSample(Group.EDITING, rounds, (frame,), targets=target, key=key)


def make_poses(boxes: np.ndarray, classes: np.ndarray) -> LabelledPoses:
    """Left edge, right edge and middle of each box; the middle of the first is not labelled."""
    x1, y1, x2, y2 = boxes.T
    middle = (y1 + y2) / 2
    points = np.stack(
        [
            np.stack([x1, middle], 1),
            np.stack([x2, middle], 1),
            np.stack([(x1 + x2) / 2, middle], 1),
        ],
        axis=1,
    )
    visible = np.ones((len(boxes), 3), np.bool_)
    visible[0, 2] = False
    return LabelledPoses(
        LabelledObjects(boxes, classes),
        points.astype(np.float32),
        visible,
        ((x2 - x1) * (y2 - y1)).astype(np.float32),
        np.array([0.05, 0.06, 0.1], np.float32),
    )


def make_mixture(*kinds: str, weights: Sequence[float] | None = None, seed: int = 0) -> Mixture:
    """Mix small sources, of equal weights by default."""
    weights = weights or [1.0] * len(kinds)
    sources = [SmallSource(kind) for kind in kinds]
    parts = [
        MixturePart(source, source.group, weight)
        for source, weight in zip(sources, weights, strict=True)
    ]
    return Mixture(parts, seed=seed)


#: Every kind, in the order of the groups.
KINDS = (
    *("text", "blind", "regions", "detection", "prompts", "context"),
    *("pose", "generation", "editing"),
)
