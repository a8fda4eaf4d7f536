from __future__ import annotations

import numpy as np
import torch

from vl2_ros.training.embedded.packs import IMAGE, PADDING, pack_rows

PATCH, PAD = 7, 0
PREFIX = [1, 5, PATCH, PATCH]


def row(*ids, supervised=1):
    labels = [-100] * (len(PREFIX) + len(ids) - supervised) + list(ids[-supervised:])
    return np.array([*PREFIX, *ids]), np.array(labels)


def test_image_comes_once_and_conversations_count_on_from_it():
    packs = pack_rows([[row(10, 11), row(20, 21, 22)], [row(30, 31)]], image_patch=PATCH, pad=PAD)
    assert packs.input_ids.tolist() == [
        [*PREFIX, 10, 11, 20, 21, 22],
        [*PREFIX, 30, 31, PAD, PAD, PAD],
    ]
    assert packs.position_ids.tolist()[0] == [0, 1, 2, 3, 4, 5, 4, 5, 6]
    assert packs.segments.tolist() == [
        [IMAGE] * 4 + [1, 1, 2, 2, 2],
        [IMAGE] * 4 + [1, 1] + [PADDING] * 3,
    ]
    assert packs.labels.tolist() == [
        [-100] * 5 + [11, -100, -100, 22],
        [-100] * 5 + [31, -100, -100, -100],
    ]


def test_blind_conversations_share_the_begin_token_alone():
    rows = [(np.array([1, 5, 9]), np.array([-100, -100, 9])), (np.array([1, 6]), np.array([1, 6]))]
    packs = pack_rows([rows], image_patch=PATCH, pad=PAD)
    assert packs.input_ids.tolist() == [[1, 5, 9, 6]]
    assert packs.position_ids.tolist() == [[0, 1, 2, 1]]
    assert packs.segments.tolist() == [[IMAGE, 1, 1, 2]]


def test_conversation_sees_the_image_and_itself_but_no_other():
    packs = pack_rows([[row(10, 11), row(20, 21)]], image_patch=PATCH, pad=PAD)
    seen = packs.visibility()[0, 0] == 0
    assert seen[3].tolist() == [True] * 4 + [False] * 4
    assert seen[5].tolist() == [True] * 6 + [False] * 2
    assert seen[7].tolist() == [True] * 4 + [False, False, True, True]


def test_padding_sees_something_so_that_nothing_becomes_nan():
    packs = pack_rows([[row(10, 11, 12)], [row(20)]], image_patch=PATCH, pad=PAD)
    assert bool((packs.visibility() == 0).any(dim=-1).all())
    assert packs.visibility().dtype == torch.float32
