"""What the text of a result says: what was found, not what the model announced."""

from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.flow.sentence import write_sentence
from vl2_ros.processing.language.answer import parse_answer_text
from vl2_ros.structures import Branch, Detections, Keypoints, LabelMap, Route


def make_branch(route: Route, **counts: int) -> Branch:
    """Make a branch with so many instances of each phrase; "_" stands for a space."""
    phrases = tuple(name.replace("_", " ") for name in counts)
    class_ids = np.repeat(np.arange(len(phrases)), list(counts.values()))
    points = np.zeros((len(class_ids), 1, 2), np.float32)
    found = Detections(
        boxes_xyxy=np.tile(np.array([10, 10, 20, 20], np.float32), (len(class_ids), 1)),
        scores=np.full(len(class_ids), 0.9, np.float32),
        class_ids=class_ids,
        labels=tuple(phrases[index] for index in class_ids),
        keypoints=Keypoints(("nose",), points, points[..., 0]) if route is Route.POSE else None,
    )
    return Branch(route, phrases, found)


def say(answer: str, *branches: Branch, asked: str = "", single=()) -> str:
    return write_sentence(parse_answer_text(answer, asked), branches, asked, single)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"cat": 0}, "I found no cat."),
        ({"mug": 2}, "I found 2 mugs."),
        ({"red_mug": 1}, "I found a red mug."),
        ({"orange_can": 1}, "I found an orange can."),
        ({"mug": 2, "bowl": 0}, "I found 2 mugs and no bowl."),
        ({"bowl": 0, "mug": 1}, "I found a mug and no bowl."),
        ({"cat": 0, "dog": 0}, "I found no cat and no dog."),
        ({"box": 3, "person": 2, "knife": 4}, "I found 3 boxes, 2 people and 4 knives."),
        ({"scissors": 1}, "I found scissors."),
    ],
)
def test_a_list_of_names_becomes_what_was_found(counts, text):
    names = ", ".join(f"{name.replace('_', ' ')}[DET]" for name in counts)
    assert say(f"I found: {names}.", make_branch(Route.DETECT, **counts)) == text


def test_segments_are_counted_as_boxes_are():
    assert say("Segmented: mug[SEG].", make_branch(Route.SEGMENT, mug=2)) == "I found 2 mugs."
    assert say("Segmented: mug[SEG].", make_branch(Route.SEGMENT, mug=0)) == "I found no mug."


def test_where_is_keeps_the_words_when_it_is_there():
    answer = "It is here: orange can[GRD]."
    asked = "where is the orange can?"
    there, missing = (
        make_branch(Route.GROUND, orange_can=1),
        make_branch(Route.GROUND, orange_can=0),
    )
    assert say(answer, there, asked=asked) == "It is here: orange can."
    assert say(answer, missing, asked=asked) == "I found no orange can."
    assert say("Sure, it is here[GRD].", make_branch(Route.GROUND, object=1)) == "Sure, it is here."
    found = say(
        "Sure, it is here[GRD].", make_branch(Route.GROUND, mug=0), asked="where is the mug"
    )
    assert found == "I found no mug."


def test_a_description_is_no_name():
    asked = "segment something that can boil water"
    branch = make_branch(Route.GROUND, something_that_can_boil_water=0)
    answer = say("Sure, it is here[GRD].", branch, asked=asked)
    assert answer == 'I found nothing for "something that can boil water".'


def test_what_was_looked_for_in_place_of_the_asked_is_said():
    branch = make_branch(Route.DETECT, figure=2)
    answer = say("I found: figure[DET].", branch, asked="find all the people")
    assert answer == "I found 2 figures. I looked for figures, not people."
    missing = say(
        "I found: figure[DET].", make_branch(Route.DETECT, figure=0), asked="find the person"
    )
    assert missing == "I found no figure. I looked for figures, not people."
    where = make_branch(Route.GROUND, figure=1)
    assert say("It is here: figure[GRD].", where, asked="where is the person?") == (
        "It is here: figure. I looked for figures, not people."
    )


@pytest.mark.parametrize(
    ("asked", "phrase"),
    [
        ("find the shiny red mugs, please", "red_mug"),
        ("find everything that is red", "red_object"),
        ("find it", "mug"),
        ("what can I drink from?", "mug"),
    ],
)
def test_fewer_words_or_no_names_are_no_other_thing(asked, phrase):
    branch = make_branch(Route.DETECT, **{phrase: 1})
    words = phrase.replace("_", " ")
    assert say(f"I found: {words}[DET].", branch, asked=asked) == f"I found a {words}."


def test_counting_reports_the_instances_whatever_the_words():
    branch = make_branch(Route.DETECT, mug=3)
    text = say("There are two fine mug[DET].", branch, asked="how many mugs are there?")
    assert text == "I found 3 mugs."


RICH = "A <det>black and white cat</det>[DET] sleeps beside <det>two mugs</det>[DET] in the sun."


def test_an_answer_that_says_more_keeps_its_words():
    found = make_branch(Route.DETECT, black_and_white_cat=1, two_mugs=2)
    assert say(RICH, found, asked="describe the image") == (
        "A black and white cat sleeps beside two mugs in the sun."
    )


def test_what_it_claims_in_vain_is_added():
    found = make_branch(Route.DETECT, black_and_white_cat=1, two_mugs=0)
    assert say(RICH, found, asked="describe the image") == (
        "A black and white cat sleeps beside two mugs in the sun. I found no mug."
    )


def test_other_languages_keep_their_words():
    found = make_branch(Route.DETECT, 猫=2)
    assert say("找到了 猫[DET]。", found, asked="找到猫") == "找到了 猫。"
    missing = make_branch(Route.DETECT, 猫=0)
    assert say("找到了 猫[DET].", missing, asked="找到猫").endswith("I found no 猫.")


def test_an_answer_in_words_alone_stays():
    assert say("Yes, there is a mug.") == "Yes, there is a mug."
    assert say("There are two mugs.", asked="how many mugs are there?") == "There are two mugs."


def test_regions_are_certain_things():
    names = frozenset({"region1", "region2"})
    branch = make_branch(Route.DETECT, region1=1, region2=0)
    answer = say("I found: region1[DET], region2[DET].", branch, single=names)
    assert answer == "I found region1 and no region2."


def test_poses_are_things_with_keypoints():
    answer = "I found: person[DET]. The keypoints are here: nose[POSE], left eye[POSE]."
    assert say(answer, make_branch(Route.POSE, person=2)) == "I found 2 people with keypoints."
    assert say(answer, make_branch(Route.POSE, person=0)) == "I found no person."


def test_classes_of_pixels_have_no_number():
    found = make_branch(Route.SEGMENT, sky=2, road=0, car=0)
    class_ids = np.zeros((4, 4), np.uint16)
    class_ids[2:] = 1
    branch = Branch(found.route, found.phrases, found.detections, LabelMap(class_ids, 0.0))
    answer = "I found: sky[SEG], road[SEG], car[SEG]."
    text = say(answer, branch, asked="label every pixel: sky, road, car")
    assert text == "I found sky, road and no car."
    assert say(answer, branch, asked="segment sky, road and car") == (
        "I found 2 skies, no road and no car."
    ), "pixels are no instance"


def test_a_phrase_of_two_routes_is_one_thing():
    both = make_branch(Route.DETECT, mug=2), make_branch(Route.SEGMENT, mug=2)
    assert say("mug[DET][SEG]", *both) == "I found 2 mugs."
    mixed = make_branch(Route.DETECT, mug=2), make_branch(Route.GROUND, bowl=1)
    assert say("I found: mug[DET]. It is here: bowl[GRD].", *mixed) == (
        "I found 2 mugs and the bowl."
    )


def test_names_that_cannot_be_counted_with_certainty():
    branch = make_branch(Route.DETECT, man_riding_a_horse=2, cup_with_a_handle=2)
    answer = "I found: man riding a horse[DET], cup with a handle[DET]."
    assert say(answer, branch) == "I found 2 times man riding a horse and 2 cups with a handle."
