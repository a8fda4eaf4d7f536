"""A small network with random weights whose words are dictated, and whose decoder sees what is set.

Ids, images, regions and super-link states go through the real networks. Only the next word and
what the decoder makes of the image are set, so that results can be computed by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.runtime.engine import EngineInfo, Engines, LanguageStep, PerceptionDecoder, Prefix
from vl2_ros.runtime.torch_backend.engine import (
    TorchLanguageModel,
    TorchLanguageSession,
    make_decoder,
    make_engine,
)
from vl2_ros.structures import Frame

CPU = torch.device("cpu")
#: Height and width; both axes get scaled, rounded and padded by different amounts.
ODD_HW = (333, 501)
#: An image of ODD_HW becomes 60x90 on a canvas of 64x96 at the decoder, 2 tiles and the whole.
PROCESSING = ProcessingConfig(
    vision_side=56,
    vision_tokens=16,
    max_tiles=4,
    decoder_short=60,
    decoder_long=90,
    segment_short=60,
    segment_long=90,
    num_embs=4,
    num_embs_gen=6,
    max_length=2048,
    max_classes=16,
    system="",
)


def make_frame(height: int, width: int, seed: int = 0) -> Frame:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Frame(rgb, stamp_ns=11, frame_id="camera")


class Dictated:
    """A language session that runs the network and then says what it was set to."""

    def __init__(self, network: Network, session: TorchLanguageSession) -> None:
        self._network, self._session = network, session
        self._script = list(network.script)

    def feed(self, input_ids, image_tokens=None, region_features=None):
        step = self._session.feed(input_ids, image_tokens, region_features)
        self._network.fed.append((input_ids, image_tokens, region_features, step.hidden))
        logits = np.zeros_like(step.logits)
        if self._script:
            logits[0, self._script.pop(0)] = 1.0
        return LanguageStep(logits, step.hidden)

    def accepts(self, count):
        # The script knows nothing of drafts and prefixes.
        return False

    def keep(self, count):
        return self._session.keep(count)


@dataclass(eq=False)
class Recorded:
    """An engine that keeps what it was asked and may change what it says."""

    engine: Any
    changes: Mapping[str, np.ndarray] = field(default_factory=dict)
    calls: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = field(default_factory=list)

    @property
    def info(self) -> EngineInfo:
        return self.engine.info

    def run(self, inputs, outputs=None):
        output = self.engine.run(inputs, outputs)
        for name, value in self.changes.items():
            assert output[name].shape == value.shape, name
        self.calls.append((dict(inputs), dict(output)))
        return output | dict(self.changes)


class Network:
    """The engines around one random network.

    Attributes:
        script: ids that the next answers consist of.
        fed: of each call of the language model: ids, image tokens, region features, hidden states.
        decoder: the detection decoder behind its image branch, recorded.
        backbone: the image branch, recorded.
        regions: the region encoder, recorded.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        torch.manual_seed(0)
        tiny = ModelConfig.tiny()
        llm = {**tiny.llm, "vocab_size": tokenizer.vocab_size, "max_position_embeddings": 2048}
        self.model = VisionLLM(replace(tiny, llm=llm), tokenizer.tokens).eval()
        self.tokenizer = tokenizer
        self.script: list[int] = []
        self.fed: list[tuple[Any, ...]] = []
        self.language = TorchLanguageModel(self.model, CPU)
        parts = make_decoder(self.model, "detection_decoder", CPU)
        self.backbone, self.decoder = Recorded(parts.backbone), Recorded(parts.decoder)
        self.regions = Recorded(make_engine(self.model, "region_encoder", CPU))
        self.vision = Recorded(make_engine(self.model, "vision_encoder", CPU))

    @property
    def info(self) -> EngineInfo:
        return self.language.info

    def open_session(self, prefix: Prefix | None = None) -> Dictated:
        return Dictated(self, self.language.open_session(prefix))

    def pipeline(self, answer: str = "", config: ProcessingConfig = PROCESSING) -> Pipeline:
        """Make a pipeline whose language model answers `answer`, routing tokens included."""
        # The space belongs to the first word, as in training.
        self.script = [*self.tokenizer.encode(f" {answer}"), self.tokenizer.tokens.eos]
        self.fed.clear()
        return Pipeline(self.engines(), self.tokenizer, config)

    def engines(self) -> Engines:
        decoders = {"detection_decoder": PerceptionDecoder(self.backbone, self.decoder)}
        return Engines(self.vision, self, decoders, region_encoder=self.regions)

    def see(
        self,
        logits: np.ndarray,
        boxes_cxcywh: np.ndarray,
        canvas_hw: tuple[int, int] = (64, 96),
    ) -> None:
        """Set what the decoder finds.

        Query 0 sees the right half of the canvas, query 1 its lower half, all others nothing.

        Args:
            logits: (q, N) of the first queries; the others are sure of nothing.
            boxes_cxcywh: (q, 4) shares of the image.
            canvas_hw: of the padded image, in network pixels.
        """
        queries, depth = 20, 16
        all_logits = np.full((1, queries, logits.shape[1]), -20.0, np.float32)
        all_logits[0, : len(logits)] = logits
        boxes = np.full((1, queries, 4), 0.5, np.float32)
        boxes[0, : len(boxes_cxcywh)] = boxes_cxcywh
        rows, columns = canvas_hw[0] // 4, canvas_hw[1] // 4
        features = np.zeros((1, depth, rows, columns), np.float32)
        features[0, 0] = np.where(np.arange(columns) < columns // 2, -8.0, 8.0)[None]
        features[0, 1] = np.where(np.arange(rows) < rows // 2, -8.0, 8.0)[:, None]
        features[0, 2] = -8.0
        selectors = np.zeros((1, queries, depth), np.float32)
        selectors[0, 0, 0] = selectors[0, 1, 1] = 1.0
        selectors[0, 2:, 2] = 1.0
        self.decoder.changes = {
            "pred_logits": all_logits,
            "pred_boxes": boxes,
            "mask_features": features,
            "mask_queries": selectors,
        }

    def prompt_text(self) -> str:
        """Return the prompt that was fed, special tokens kept, patch tokens counted."""
        text = self.tokenizer.decode(self.fed[0][0], keep_special=True)
        return re.sub(r"(?:<im_patch>)+", lambda run: f"<{len(run[0]) // 10}>", text)
