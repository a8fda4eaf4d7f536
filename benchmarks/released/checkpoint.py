"""Write a checkpoint of the released size with random bfloat16 weights, shard by shard.

    python -m benchmarks.released.checkpoint /tmp/seven_b [--layers 32]

From the repository's root, as names and shapes are those of `tests/model/checkpoint`. It is in the
released layout with both perception decoders, without image generation: 14.4 GB with all 32 layers
of the language model, 0.4 GB less for each layer fewer. A shard of 1 GB is in memory at a time.
Its tokenizer knows a few words and the added tokens at their released ids. Answers mean nothing;
time and memory are those of the release.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tests.model.checkpoint.fake_release import write_companions
from tests.model.checkpoint.release_tables import ReleaseSizes, release_keys
from vl2_ros.model.checkpoint.release_keys import rename_key
from vl2_ros.model.checkpoint.writer import ShardWriter
from vl2_ros.model.language.tokens import ADDED_TOKENS
from vl2_ros.processing.config import VICUNA_SYSTEM

SHARD_BYTES = 10**9
#: Random values that all weights are cut from: to draw billions of them takes minutes.
POOL = 2**24


class RandomWeights:
    """Weights by name and shape, the same for names that share a tensor."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self._pool = torch.empty(POOL).normal_(std=0.02, generator=generator).bfloat16()

    def make(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return the values of a released tensor, in memory of its own."""
        if name.endswith("relative_position_index"):
            return torch.zeros(shape, dtype=torch.int64)
        if len(shape) == 1 and name.endswith("weight"):
            return torch.ones(shape, dtype=torch.bfloat16)
        targets = rename_key(name)
        begin = hash_text(targets[0].name if targets else name) % POOL
        count = torch.Size(shape).numel()
        rounds, end = divmod(begin + count, POOL)
        if not rounds:
            return self._pool[begin:end].clone().reshape(shape)
        pieces = [self._pool[begin:], *[self._pool] * (rounds - 1), self._pool[:end]]
        return torch.cat(pieces).reshape(shape)


def hash_text(text: str) -> int:
    """Return a number that is the same in every process."""
    return int.from_bytes(text.encode()) % (2**31 - 1)


def write_tokenizer(folder: Path, vocabulary: int) -> None:
    """Write a tokenizer of a few words, filled up to the released size before its added tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator([VICUNA_SYSTEM, "USER: find the red mug ASSISTANT:"], trainer)
    document = json.loads(trained.to_str())
    words = document["model"]["vocab"]
    words |= {f"<filler {index}>": index for index in range(len(words), vocabulary)}
    filled = Tokenizer.from_str(json.dumps(document))
    filled.add_special_tokens([AddedToken(token, special=True) for token in ADDED_TOKENS])
    filled.save(str(folder / "tokenizer.json"))


def write_checkpoint(folder: Path, sizes: ReleaseSizes) -> None:
    """Write configuration, tokenizer and weights."""
    write_companions(folder, sizes)
    write_tokenizer(folder, sizes.vocabulary - len(ADDED_TOKENS))
    weights, writer = RandomWeights(), ShardWriter(folder, SHARD_BYTES)
    for name, shape in release_keys(sizes).items():
        writer.add(name, weights.make(name, shape))
    writer.finish()


def main() -> None:
    """Write the checkpoint and print its size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=32, help="of the language model")
    options = parser.parse_args()
    write_checkpoint(options.folder, replace(ReleaseSizes(), llm_layers=options.layers))
    size = sum(path.stat().st_size for path in options.folder.iterdir())
    print(f"{options.folder}: {size / 1e9:.1f} GB")


if __name__ == "__main__":
    main()
