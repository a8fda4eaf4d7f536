from __future__ import annotations

import pytest

from vl2_ros.processing.skeletons import SKELETONS, find_edges, normalise_name

COCO = (
    *("nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder"),
    *("left elbow", "right elbow", "left wrist", "right wrist", "left hip", "right hip"),
    *("left knee", "right knee", "left ankle", "right ankle"),
)


def name_edges(names) -> set[frozenset[str]]:
    return {frozenset((names[one], names[other])) for one, other in find_edges(names)}


def test_person_has_cocos_edges_in_any_order():
    edges = find_edges(COCO)
    assert len(edges) == 19 == len(set(edges))
    assert {index for edge in edges for index in edge} == set(range(17))
    assert name_edges(COCO) == name_edges(COCO[::-1])
    assert frozenset(("left elbow", "left wrist")) in name_edges(COCO)


def test_subset_keeps_the_edges_among_its_own():
    names = ("left wrist", "left elbow", "nose")
    assert find_edges(names) == ((1, 0),)


def test_names_are_known_however_they_are_spelt():
    assert find_edges(["Left_Elbow", "LEFT-WRIST"]) == ((0, 1),)
    assert find_edges(["wrist", "thumb1", "thumb2"]) == find_edges(["wrist", "thumb 1", "thumb 2"])


@pytest.mark.parametrize("names", [(), ("nose",), ("left door", "right door"), ("nose", "handle")])
def test_names_that_no_skeleton_knows_are_joined_to_nothing(names):
    assert find_edges(names) == ()


@pytest.mark.parametrize(
    ("category", "points", "edges"),
    [
        ("person", 17, 19),
        ("person with head and neck", 14, 14),
        ("quadruped", 17, 17),
        ("hand", 21, 20),
    ],
)
def test_every_skeleton_is_one_piece(category, points, edges):
    pairs = SKELETONS[category]
    names = tuple(dict.fromkeys(name for pair in pairs for name in pair))
    assert (len(names), len(pairs)) == (points, edges)
    assert all(normalise_name(name) == name for name in names)
    assert len(find_edges(names)) == edges
    reached = {names[0]}
    for _ in names:
        reached |= {name for pair in pairs if reached & set(pair) for name in pair}
    assert reached == set(names)
