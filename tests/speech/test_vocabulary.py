from __future__ import annotations

import pytest

from vl2_ros.speech.dialogue import read_sentence
from vl2_ros.speech.vocabulary import MAX_HOT_WORDS, MAX_PROMPT_CHARACTERS, VERBS, Vocabulary


def test_the_prompt_has_every_verb_with_a_known_name():
    prompt = Vocabulary(("forklift", "pallet")).prompt
    assert prompt.startswith("Find the forklift and the pallet. Segment the forklift and the ")
    assert Vocabulary(("mug",)).prompt.startswith(
        "Find the mug. Segment the mug. Where is the mug?"
    )
    assert all(verb in prompt.lower() for verb in VERBS)


def test_the_prompt_is_made_of_sentences_that_are_accepted():
    vocabulary = Vocabulary(("red mug", "person"), cameras=("front",), watches=("find the cups",))
    sentences = vocabulary.prompt.replace("?", ".").strip(".").split(". ")
    refused = [one for one in sentences if read_sentence(one, vocabulary).action is None]
    assert not refused


def test_running_watches_and_cameras_come_first():
    prompt = Vocabulary(cameras=("front", "wrist"), watches=("find the screws!",)).prompt
    assert prompt.startswith(
        "Find the screws. Find the mug in the front camera. Find the person in the wrist camera. "
    )


def test_the_prompt_is_short_enough_whatever_runs():
    watches = tuple(f"find the red mug number {index}" for index in range(64))
    prompt = Vocabulary(("a" * 600, *map(str, range(1_000))), watches=watches).prompt
    assert len(prompt) <= MAX_PROMPT_CHARACTERS
    assert prompt.endswith("Stop. Again. What did you say?")


def test_hot_words_are_the_likeliest_names_each_once():
    vocabulary = Vocabulary(tuple(f"thing{n}" for n in range(99)), cameras=("front", "thing0"))
    assert vocabulary.hot_words[:3] == ("front", "thing0", "thing1")
    assert len(vocabulary.hot_words) == MAX_HOT_WORDS
    assert Vocabulary().hot_words == ()


@pytest.mark.parametrize(
    ("sentence", "is_known"),
    [
        ("Find the mugs.", True),
        ("What colour is the MUG?", True),
        ("where are the wine glasses", True),
        ("find the glass", False),
        ("find the smug cat", False),
        ("is the bottle next to the screws", True),
        ("find the door", False),
    ],
)
def test_names_are_known_in_singular_and_plural(sentence, is_known):
    vocabulary = Vocabulary(("mug", "wine glass"), watches=("find the bottle and the screws",))
    assert vocabulary.knows(sentence) is is_known


def test_long_sentences_of_watches_leave_room_for_the_verbs():
    long = "find " + " and ".join(f"the crate number {index}" for index in range(40))
    assert Vocabulary(("mug",), watches=(long,)).prompt == Vocabulary(("mug",)).prompt
    prompt = Vocabulary(("a" * 600, "mug", "bowl", "cup")).prompt
    assert prompt.startswith("Segment the bowl and the cup. How many mugs are there?")
