"""Make random commands from a seed: sensible, wrong and hostile ones, as message fields."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vl2_ros.model.language.tokens import ADDED_TOKENS
from vl2_ros.node.request import Mode
from vl2_ros.node.transport import MessageTypes
from vl2_ros.structures import MAX_COMMAND_CHARACTERS, PromptKind

COMMAND = "vl2_ros/msg/VisionCommand"
IMAGE = "sensor_msgs/msg/Image"

Fields = dict[str, Any]

_SENTENCES = (
    "find the {color} {kind}",
    "segment every {kind}",
    "how many {kind}s are there?",
    "what is on the table?",
    "where is the {color} {kind}, and where is the {kind}?",
    "is there a {color} {kind}?",
    "what color is the {kind}?",
    "describe the image",
    "draw a {color} {kind}",
    "please wait for the {color} one",
)
_COLORS = ("red", "green", "blue", "yellow", "purple", "black", "white", "orange")
_KINDS = ("mug", "bowl", "can", "ball", "cube", "plate", "book", "bottle", "box")
_LETTERS = "abc XYZ 0123 .,;!? äß \u4e2d\u6587 \u05d0\u05d1 \U0001f600 \n\t\r\x07\x1b[31m <>[]{}"


class CommandMaker:
    """Makes commands; the same seed gives the same ones in the same order.

    Args:
        types: makes the messages.
        seed: of the choices.
    """

    def __init__(self, types: MessageTypes, seed: str) -> None:
        self._make = types.make
        self._random = random.Random(seed)
        self._makers: tuple[tuple[int, Callable[[], Fields]], ...] = (
            (10, self._make_sensible),
            (3, self._make_odd_text),
            (2, self._make_special_tokens),
            (2, self._make_short_deadline),
            (2, self._make_pointing),
            (2, self._make_wrong_prompt),
            (2, self._make_with_image),
            (3, self._make_invalid),
            (1, self._make_short_watch),
        )

    def make(self, command_id: str) -> Any:
        """Make the next vl2_ros/VisionCommand under an id."""
        weights, makers = zip(*self._makers, strict=True)
        (maker,) = self._random.choices(makers, weights)
        # A maker may choose an id of its own that begins with the given one.
        fields = maker()
        fields["id"] = command_id + fields.get("id", "")
        return self._make(COMMAND, **fields)

    def make_sentence(self) -> str:
        """Return a sentence that the embedded model can answer."""
        choose = self._random.choice
        return choose(_SENTENCES).format(color=choose(_COLORS), kind=choose(_KINDS))

    def _make_sensible(self) -> Fields:
        camera = self._random.choice(("", "image", "side"))
        return {"text": self.make_sentence(), "camera": camera}

    def _make_odd_text(self) -> Fields:
        letters = "".join(self._random.choices(_LETTERS, k=200))
        texts = (
            "",
            " \n\t ",
            letters,
            letters * (MAX_COMMAND_CHARACTERS // len(letters)),
            letters * (MAX_COMMAND_CHARACTERS // len(letters) + 1),
            "mug " * 5000,
        )
        return {"text": self._random.choice(texts)}

    def _make_special_tokens(self) -> Fields:
        tokens = self._random.choices((*ADDED_TOKENS, "<s>", "</s>", "<unk>", "USER:"), k=12)
        return {"text": " ".join(["find the mug", *tokens])}

    def _make_short_deadline(self) -> Fields:
        deadline_s = self._random.choice((1e-6, 0.005, 0.05, 0.2))
        return {"text": self.make_sentence(), "deadline_s": deadline_s}

    def _make_pointing(self) -> Fields:
        """Point into the smallest image of the cameras, which also lies in all others."""
        kind = self._random.choice((PromptKind.POINT, PromptKind.BOX, PromptKind.POLYGON))
        corners = {
            PromptKind.POINT: [(100, 100)],
            PromptKind.BOX: [(20, 20), (200, 150)],
            PromptKind.POLYGON: [(20, 20), (200, 30), (100, 150)],
        }[kind]
        return {"text": "what is this?", "visual_prompts": [self._make_prompt(kind.value, corners)]}

    def _make_wrong_prompt(self) -> Fields:
        prompts = (
            self._make_prompt(PromptKind.POINT.value, [(1e9, -5)]),
            self._make_prompt(PromptKind.POINT.value, []),
            self._make_prompt(PromptKind.BOX.value, [(float("nan"), 0), (10, float("inf"))]),
            self._make_prompt(PromptKind.POINT.value, [(10, 10)], image=7),
            self._make_prompt(PromptKind.MASK.value, [], counts=(3, 5), height=4, width=4),
            self._make_prompt(PromptKind.MASK.value, [], counts=(8, 8), height=4, width=4),
            self._make_prompt(99, [(10, 10)]),
        )
        return {"text": "what is this?", "visual_prompts": [self._random.choice(prompts)]}

    def _make_with_image(self) -> Fields:
        # The second has less data than its size needs, the third none.
        rows, encoding = self._random.choice(((64, "rgb8"), (50, "rgb8"), (0, ""), (64, "what")))
        image = self._make(
            IMAGE, height=64, width=64, step=192, encoding=encoding, data=_make_noise(rows * 192)
        )
        prompt = self._make_prompt(PromptKind.BOX.value, [(8, 8), (40, 40)], image=1)
        text = "find everything that looks like this"
        return {"text": text, "images": [image], "visual_prompts": [prompt]}

    def _make_invalid(self) -> Fields:
        nan, infinite = float("nan"), float("inf")
        faults: tuple[Fields, ...] = (
            {"camera": "no_such_camera"},
            {"camera": "image\n/../side"},
            {"mode": 9},
            {"deadline_s": -1.0},
            {"deadline_s": nan},
            {"deadline_s": infinite},
            {"mode": int(Mode.WATCH), "rate_hz": nan},
            {"mode": int(Mode.WATCH), "duration_s": -infinite},
            {"score_threshold": 2.0},
            {"score_threshold": nan},
            {"id": "x" * 300},
        )
        return {"text": self.make_sentence(), **self._random.choice(faults)}

    def _make_short_watch(self) -> Fields:
        return {
            "text": self.make_sentence(),
            "mode": int(Mode.WATCH),
            "rate_hz": self._random.choice((1.0, 3.0)),
            "duration_s": self._random.choice((0.3, 1.0, 2.0)),
        }

    def _make_prompt(
        self,
        kind: int,
        points: Sequence[tuple[float, float]],
        *,
        image: int = 0,
        counts: tuple[int, ...] = (),
        height: int = 0,
        width: int = 0,
    ) -> Any:
        mask = self._make(
            "vl2_ros/msg/InstanceMask",
            height=height,
            width=width,
            counts=np.array(counts, np.uint32),
        )
        return self._make(
            "vl2_ros/msg/VisualPrompt",
            kind=kind,
            image=image,
            points=[self._make("vision_msgs/msg/Point2D", x=x, y=y) for x, y in points],
            mask=mask,
        )


def _make_noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, count, dtype=np.uint8)
