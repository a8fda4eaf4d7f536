"""The CLIP score of an image and a caption, by weights of the user's; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, CLIPModel

from vl2_ros.errors import CheckpointError
from vl2_ros.processing.images.preprocess import normalise_clip, resize_shortest_edge


class ClipScorer:
    """Compares images with captions.

    Args:
        folder: a CLIP model and its tokenizer as transformers saves them.
    """

    def __init__(self, folder: Path) -> None:
        """Load the model."""
        try:
            self._model = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{folder} has no CLIP that can be loaded ({str(error)[:200]}); expected "
                "config.json, model.safetensors and tokenizer.json of one"
            ) from error

    @torch.inference_mode()
    def score(self, rgb: np.ndarray, caption: str) -> float:
        """Return the cosine of both embeddings, 0..1; a negative one is 0.

        Args:
            rgb: (H, W, 3) uint8; the middle square of it is seen.
            caption: cut to the length that the model accepts.
        """
        side = self._model.config.vision_config.image_size
        most = self._model.config.text_config.max_position_embeddings
        resized = resize_shortest_edge(rgb, side)  # (h, w, 3)
        top, left = (resized.shape[0] - side) // 2, (resized.shape[1] - side) // 2
        square = np.ascontiguousarray(resized[top : top + side, left : left + side])
        words = self._tokenizer(caption, truncation=True, max_length=most, return_tensors="pt")
        pixels = torch.from_numpy(np.ascontiguousarray(normalise_clip(square[None])))
        output = self._model(
            pixel_values=pixels,
            input_ids=words["input_ids"],
            attention_mask=words["attention_mask"],
        )
        cosine = torch.cosine_similarity(output.image_embeds, output.text_embeds)
        return max(0.0, float(cosine[0]))
