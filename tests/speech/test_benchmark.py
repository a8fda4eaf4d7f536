"""The benchmark of spoken commands: what it compares, what it makes, and that it runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CLIPS = Path(__file__).with_name("data")


@pytest.fixture(autouse=True)
def beside_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, BENCHMARKS / "speech.py", *arguments]
    return subprocess.run([*map(str, script)], capture_output=True, text=True, check=False)


def test_held_out_queries_are_commands_and_stand_nowhere_else():
    from hearing.meaning import mean_written, plain
    from hearing.sentences import DEVELOPMENT, QUERIES, SMALL_TALK, read_sentences

    from vl2_ros.sim.household.kinds import HOUSEHOLD_KINDS
    from vl2_ros.speech.vocabulary import Vocabulary

    vocabulary = Vocabulary(names=tuple(HOUSEHOLD_KINDS))
    queries = read_sentences(QUERIES)
    assert len(set(map(plain, queries))) == 120
    assert all(mean_written(one, vocabulary) for one in queries)
    prompted = vocabulary.prompt.replace("?", ".").split(".")
    others = {*map(plain, read_sentences(DEVELOPMENT)), *map(plain, prompted)}
    assert not others & set(map(plain, queries))
    talk = read_sentences(SMALL_TALK)
    assert len(talk) > 50 and not any(mean_written(one, vocabulary) for one in talk)


@pytest.mark.parametrize(
    "heard, same",
    [
        ("Find the blue mug on the shelf.", True),
        ("Please find the blue mug on the shelf!", True),
        ("Find the blue mug on the shell.", False),
        ("Where is the blue mug on the shelf?", True),
        ("Count the blue mugs on the shelf.", False),
        ("Good morning.", False),
    ],
)
def test_commands_are_equal_when_they_parse_to_the_same(heard, same):
    from hearing.meaning import mean_written

    from vl2_ros.speech.vocabulary import Vocabulary

    written = mean_written("find the blue mug on the shelf", Vocabulary())
    assert written and (mean_written(heard, Vocabulary()) == written) is same


def test_noise_has_the_asked_ratio_and_is_reproducible():
    from hearing.noise import NOISES, RATE, make_music
    from hearing.trials import make_trial

    speech = 0.05 * np.sqrt(2) * np.sin(np.arange(RATE) / 3).astype(np.float32)
    clean, noisy = (make_trial(speech, condition, 7) for condition in ("clean", "10db"))
    noise = noisy.samples - clean.samples
    assert 20 * np.log10(0.05 / np.sqrt(np.mean(noise**2))) == pytest.approx(10.0, abs=0.05)
    assert noisy.end_s == pytest.approx(1.6, abs=0.01)
    for make in (*NOISES.values(), make_music):
        one = make(RATE, 3)
        assert one.shape == (RATE,) and np.sqrt(np.mean(one**2)) == pytest.approx(1.0, abs=1e-3)
        np.testing.assert_array_equal(one, make(RATE, 3))


def test_without_voices_it_says_how_to_render_them(tmp_path):
    done = run("--voices", tmp_path / "none")
    assert done.returncode == 2
    assert "benchmarks/hearing/voices.py renders one" in done.stderr


@pytest.mark.speech
def test_two_spoken_queries_are_measured_and_what_lacks_is_named(tmp_path):
    (tmp_path / "voices" / "heart").mkdir(parents=True)
    clip = CLIPS / "heart_where_is_my_wallet.flac"
    shutil.copy(clip, tmp_path / "voices" / "heart" / "where-is-my-wallet.flac")
    queries = tmp_path / "queries.txt"
    queries.write_text("# mine\nwhere is my wallet?\nfind the purple hat\n")
    options = ("--queries", queries, "--conditions", "clean", "--minutes", 0, "--json")
    done = run("--voices", tmp_path / "voices", *options)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["commands_clean"] == 1.0 and document["wrong"] == {"clean": []}
    assert document["commands_10db"] is None and document["false_commands"] is None
    assert document["real_time_factor"] > 0 and 0.3 < document["pause_s"] < 0.6
    assert document["end_to_command_s"] > document["pause_s"]
    assert document["lacks"][:2] == [
        f"1 of 4 voices are in {tmp_path / 'voices'}",
        "1 queries are not spoken by every voice",
    ]
