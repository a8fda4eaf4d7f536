"""Train the embedded model's byte-level BPE tokenizer on sampled commands and plain English.

Writes one `tokenizer.json`; every byte string can be encoded and comes back unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from vl2_ros.datasets.commands import sample_class_list, sample_perception, sample_text
from vl2_ros.datasets.nouns import OTHER_NOUNS, pluralize
from vl2_ros.datasets.sentence_files import SENTENCES_FOLDER, read_sentences
from vl2_ros.errors import ConfigError
from vl2_ros.model.language.tokens import ADDED_TOKENS, ROUTING_TABLES
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS

#: Ids 0, 1, 2: unknown (also padding), begin, end.
BASE_TOKENS = ("<unk>", "<s>", "</s>")
MIN_VOCAB_SIZE = len(BASE_TOKENS) + 256 + len(ADDED_TOKENS)

# Role words stay whole with their colon; digits stand alone; a word takes the space before it.
_SPLIT = (
    r"USER:| ?ASSISTANT:|'(?:[sdmt]|ll|ve|re)\b| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


def train_tokenizer(
    folder: Path, *, vocab_size: int = 2048, seed: int = 0, sentences: int = 40_000
) -> Path:
    """Train a tokenizer on sampled conversations and save it as `tokenizer.json`.

    Ids: <unk>, <s>, </s>, the byte alphabet, merges in order of learning, then `ADDED_TOKENS`.

    Args:
        folder: created if missing.
        vocab_size: maximum number of ids, the added tokens included.
        seed: equal seeds write equal files.
        sentences: conversations sampled for the counts.

    Returns:
        Path of the file.

    Raises:
        ConfigError: if the vocabulary has no room for all bytes and the added tokens.
    """
    if vocab_size < MIN_VOCAB_SIZE:
        raise ConfigError(
            f"vocab_size must be at least {MIN_VOCAB_SIZE} (bytes and special tokens), "
            f"got {vocab_size}"
        )
    tokenizer = Tokenizer(models.BPE(unk_token=BASE_TOKENS[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(ADDED_TOKENS),
        special_tokens=[AddedToken(token, special=True) for token in BASE_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(seed, sentences), trainer=trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in ADDED_TOKENS]
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def _corpus(seed: int, sentences: int) -> Iterator[str]:
    rng = np.random.default_rng(seed)
    samplers = (sample_perception, sample_perception, sample_text, sample_class_list)
    for index in range(sentences):
        scene = _random_scene(rng)
        example = samplers[index % len(samplers)](rng, scene)
        answer = example.answer
        for token in ROUTING_TABLES:
            answer = answer.replace(token, "")
        # Role words alone on a line: the question after them starts without a space.
        yield f"USER:\n{example.question} ASSISTANT: {answer}"
    for word in (*OTHER_NOUNS, *KINDS, *COLORS):
        yield "\n".join(40 * [f"the {word}, {word} {pluralize(word)}"])
    english = read_sentences(SENTENCES_FOLDER / "english.txt", {"sentences": ("",)})
    for sentence in english["sentences"].lines:
        yield "\n".join(12 * [sentence])


def _random_scene(rng: np.random.Generator) -> list[SimpleNamespace]:
    count = int(rng.integers(10))
    kinds, colors = rng.integers(len(KINDS), size=count), rng.integers(len(COLORS), size=count)
    return [
        SimpleNamespace(kind=KINDS[kind], color=COLORS[color])
        for kind, color in zip(kinds, colors, strict=True)
    ]
