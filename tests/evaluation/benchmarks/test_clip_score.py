from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from vl2_ros.errors import CheckpointError
from vl2_ros.evaluation.benchmarks.clip_score import ClipScorer
from vl2_ros.evaluation.benchmarks.run import run_benchmark
from vl2_ros.evaluation.benchmarks.table import BENCHMARKS
from vl2_ros.evaluation.benchmarks.task import BenchmarkData
from vl2_ros.structures import GeneratedImage, Result, Route

MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    side = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    side |= {"num_attention_heads": 2, "projection_dim": 16}
    text = side | {
        "vocab_size": 5,
        "bos_token_id": 0,
        "max_position_embeddings": 6,
        "eos_token_id": 2,
    }
    config = CLIPConfig(
        text_config=text,
        vision_config=side | {"image_size": 16, "patch_size": 8},
        projection_dim=16,
    )
    path = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(path)
    words = {word: index for index, word in enumerate(("[UNK]", "red", "mug", "blue", "dog"))}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(path)
    return path


def compute(folder: Path, square: np.ndarray, ids: list[int]) -> float:
    model = CLIPModel.from_pretrained(folder).eval()
    pixels = torch.from_numpy(((square / 255 - MEAN) / STD).transpose(2, 0, 1)[None]).float()
    with torch.inference_mode():
        image = model.visual_projection(model.vision_model(pixels).pooler_output)[0]
        words = model.text_model(input_ids=torch.tensor([ids]))
        text = model.text_projection(words.pooler_output)[0]
    return float(image @ text / (image.norm() * text.norm()))


def test_the_score_is_the_cosine_of_the_middle_square_and_the_caption(folder: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    scorer = ClipScorer(folder)
    expected = {
        "red mug": compute(folder, rgb[:, 4:20], [1, 2]),
        "blue dog": compute(folder, rgb[:, 4:20], [3, 4]),
        # Cut to six words.
        "red red red red red mug dog dog": compute(folder, rgb[:, 4:20], [1, 1, 1, 1, 1, 2]),
    }
    assert len({round(value, 6) for value in expected.values()}) == 3
    for caption, cosine in expected.items():
        assert cosine > 0.01
        assert scorer.score(rgb, caption) == pytest.approx(cosine, abs=1e-6)


def test_generated_images_are_scored_by_their_first_caption(folder: Path, tmp_path: Path) -> None:
    rows = [("1", "Red mug."), ("1", "dog"), ("2", " "), ("3", "blue dog")]
    annotations = [{"image_id": image, "caption": caption} for image, caption in rows]
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"annotations": annotations}))
    images = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 3), np.uint8)
    asked = []

    def answer(frame, command):
        assert frame is None and command.direct
        asked.append(command.text)
        rgb = images[len(asked) - 1]
        image = GeneratedImage(Route.GENERATE, rgb, 0, 1, "ddim")
        return Result("", 0, "", "", images=(image,))

    outcome = run_benchmark(
        BENCHMARKS["generation"],
        SimpleNamespace(answer=answer),
        BenchmarkData((path,), scorer=folder),
    )
    assert asked == ["draw a picture of Red mug", "draw a picture of blue dog"]
    scorer = ClipScorer(folder)
    expected = [scorer.score(images[0], "Red mug"), scorer.score(images[1], "blue dog")]
    assert outcome.scores == {"clip_score": pytest.approx(np.mean(expected))}
    assert list(outcome.bad) == ["annotations[2]"]


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no CLIP that can be loaded"):
        ClipScorer(tmp_path)
