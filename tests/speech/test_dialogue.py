from __future__ import annotations

import pytest

from vl2_ros.speech.dialogue import (
    Ask,
    Repeat,
    SayAgain,
    StartWatch,
    StopAll,
    StopWatch,
    is_call,
    read_sentence,
)
from vl2_ros.speech.vocabulary import Vocabulary

NOTHING = Vocabulary()


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("Find the red mug and the bowl.", Ask("Find the red mug and the bowl.")),
        ("Segment every person!", Ask("Segment every person!")),
        ("Is there a cup on the table?", Ask("Is there a cup on the table?")),
        ("What's in front of you?", Ask("What's in front of you?")),
        ("Describe the scene.", Ask("Describe the scene.")),
        ("Point at the second drawer.", Ask("Point at the second drawer.")),
        ("Stop.", StopAll()),
        ("Stop it, please!", StopAll()),
        ("Please cancel that.", StopAll()),
        ("Never mind.", StopAll()),
        ("Stop watching.", StopWatch("")),
        ("Stop watching it.", StopWatch("")),
        ("Okay, stop watching the mugs.", StopWatch("the mugs")),
        ("Stop looking for the keys.", StopWatch("the keys")),
        ("Keep watching the mugs.", StartWatch("find the mugs")),
        ("Keep watching.", StartWatch("")),
        ("Watch for the red car", StartWatch("find the red car")),
        ("Keep an eye on the door.", StartWatch("find the door")),
        ("Track the person with the hat.", StartWatch("find the person with the hat")),
        ("Keep segmenting the cups.", StartWatch("segment the cups")),
        ("Keep locating the cups.", StartWatch("locate the cups")),
        ("Keep spotting the cups.", StartWatch("spot the cups")),
        ("Stop counting the people.", StopWatch("the people")),
        ("Track down the red mug.", Ask("Track down the red mug.")),
        ("Again.", Repeat()),
        ("Once more, please.", Repeat()),
        ("Do it again!", Repeat()),
        ("What did you say?", SayAgain()),
        ("Pardon?", SayAgain()),
        ("Sorry, what did you say?", None),
        ("I didn't catch that.", SayAgain()),
    ],
)
def test_a_sentence_is_taken_for_one_action(text, action):
    reading = read_sentence(text, NOTHING)
    assert reading.action == action
    assert (reading.certainty > 0.0) is (action is not None) is (not reading.reason)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ... ",
        "Please.",
        "Thank you very much.",
        "Hello again!",
        "Watch out!",
        "Get out of here.",
        "Get out.",
        "Stop it, you are making me laugh.",
        "I could watch the sea for hours.",
        "My brother never stops talking about football.",
        "How many times do I have to say it?",
        "What is the point of that?",
        "What time is it?",
        "How are you today?",
        "Let me know when you are ready.",
        "Keep in touch.",
        "Keep talking to me.",
        "Stop talking to me.",
        "Stop making me laugh.",
        "We found the keys.",
        "Follow me.",
    ],
)
def test_what_people_say_to_each_other_is_refused_with_a_reason(text):
    reading = read_sentence(text, NOTHING)
    assert reading.action is None and reading.reason and reading.certainty == 0.0


def test_the_wake_phrase_is_needed_and_taken_off():
    for text in (
        "Hey robot, find the mug.",
        "hey, Robot! find the mug.",
        "HEY ROBOT find the mug.",
    ):
        action = read_sentence(text, NOTHING, "hey robot").action
        assert isinstance(action, Ask) and action.text.lower() == "find the mug."
    assert read_sentence("Hey robot, stop!", NOTHING, "Hey, robot").action == StopAll()
    for text, reason in (
        ("Find the mug.", "does not begin with 'hey robot'"),
        ("Hey robots find the mug.", "does not begin with 'hey robot'"),
        ("Hey robot.", "asks for nothing"),
    ):
        reading = read_sentence(text, NOTHING, "hey robot")
        assert reading.action is None and reason in reading.reason


def test_a_known_name_makes_a_sentence_more_certain():
    vocabulary = Vocabulary(("mug",))
    known, unknown = (
        [read_sentence(text.format(name), vocabulary).certainty for name in ("mug", "fish")]
        for text in ("find the {}", "is there a {}")
    )
    assert known[0] > known[1] and unknown[0] > unknown[1]
    assert known[0] > unknown[0] and known[1] > unknown[1]


def test_free_words_must_be_a_question_about_a_known_name_or_addressed_to_the_robot():
    vocabulary = Vocabulary(("mug",))

    def read(name: str, before: str = "") -> list[bool]:
        return [
            read_sentence(f"{before} {text.format(name)}", vocabulary, before).action is not None
            for text in ("does anybody need the {}", "everybody loves the {}")
        ]

    assert read("mug") == [True, False] and read("fish") == [False, False]
    assert read("mug", "hey robot") == [True, True] and read("fish", "hey robot") == [False, False]


def test_a_parser_that_refuses_says_why():
    reading = read_sentence("Find the pose of the teapot.", NOTHING)
    assert reading.action is None and "no keypoints are known for 'teapot'" in reading.reason


@pytest.mark.parametrize(
    ("what", "watch", "is_meant"),
    [
        ("the mugs", "find the red mug and the bowl", True),
        ("the red mug", "Find the red mug.", True),
        ("the blue mug", "find the red mug", False),
        ("the cars", "find the red mug", False),
        ("the cars and the bowls", "find the red mug and the bowl", True),
        ("the door", "is the door open?", True),
        ("", "find the red mug", True),
    ],
)
def test_a_watch_is_meant_by_one_of_its_things(what, watch, is_meant):
    assert StopWatch(what).is_about(watch) is is_meant


@pytest.mark.parametrize(
    ("what", "watch", "is_meant"),
    [
        ("the red plate", "find the red mugs and the plates", False),
        ("the plates", "find the red mugs and the plates", True),
        ("the mugs and the bowls", "find the bowl", True),
    ],
)
def test_words_of_two_things_are_not_the_name_of_one(what, watch, is_meant):
    assert StopWatch(what).is_about(watch) is is_meant


@pytest.mark.parametrize("phrase", ["hey robot", "Hey, Robot!", "hey-robot"])
def test_marks_of_the_wake_phrase_are_not_said(phrase):
    said = read_sentence("Hey robot, find the mug.", Vocabulary(), phrase)
    assert said.action == Ask("find the mug.")
    assert is_call("Hey, robot.", phrase) and not is_call("Hey robot, stop.", phrase)
    assert not is_call("Hey, robot.", "")


@pytest.mark.parametrize("phrase", ["okay robot", "OK robot"])
@pytest.mark.parametrize("said", ["OK, robot. Stop.", "Okay Robot, stop.", "O.K. robot, stop"])
def test_okay_is_written_in_several_ways(phrase, said):
    assert read_sentence(said, Vocabulary(), phrase).action == StopAll()
    assert read_sentence(said, Vocabulary(), "oak robot").action is None
