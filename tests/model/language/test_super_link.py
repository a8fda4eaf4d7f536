from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vl2_ros.errors import InputError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.super_link import TABLES, SuperLink, pack_groups, pack_pose
from vl2_ros.model.language.tokens import TokenIds

CONFIG = replace(ModelConfig.tiny(with_detection=False), num_embs=3, num_embs_gen=5)
WIDTH = CONFIG.llm_width


@pytest.fixture
def link(tiny_tokens: TokenIds) -> SuperLink:
    return SuperLink(CONFIG, tiny_tokens)


def ids_of(tokens: TokenIds) -> dict[str, int]:
    return {token: token_id for token_id, token in tokens.routing.items()}


def test_tables_and_their_order(link: SuperLink):
    names = [f"{name}.weight" for name in TABLES]
    assert list(link.state_dict()) == names
    assert [len(link.state_dict()[name]) for name in names] == [3, 3, 5, 5]


def test_table_spread_follows_the_config(tiny_tokens: TokenIds):
    torch.manual_seed(0)
    small = SuperLink(replace(CONFIG, table_init_std=0.02), tiny_tokens)
    assert small.table("[GEN]").std().item() == pytest.approx(0.02, rel=0.2)
    assert SuperLink(CONFIG, tiny_tokens).table("[GEN]").std().item() == pytest.approx(1, rel=0.2)


def test_each_route_is_filled_from_its_table(link: SuperLink, tiny_tokens: TokenIds):
    routes = {"[DET]": "det", "[GRD]": "det", "[SEG]": "det", "[POSE]": "pose"}
    routes |= {"[GEN]": "gen", "[EDIT]": "edit"}
    for route, table in routes.items():
        weight = link.get_submodule(table).weight
        ids = torch.tensor([[7, ids_of(tiny_tokens)[route], *[9] * len(weight), 8]])
        filled = link.fill_slots(torch.zeros(1, ids.shape[1], WIDTH), ids)
        assert torch.equal(filled[0, 2:-1], weight)
        assert not filled[0, [0, 1, -1]].any()


def test_rows_are_completed_by_themselves(link: SuperLink, tiny_tokens: TokenIds):
    route = ids_of(tiny_tokens)
    slots = list(tiny_tokens.slots[:3])
    rows = [[5, 6], [5, route["[DET]"], 6, route["[SEG]"], 7]]
    ids, mask = link.complete_rows(rows)
    assert ids[1].tolist() == [5, route["[DET]"], *slots, 6, route["[SEG]"], *slots, 7]
    assert ids[0].tolist() == [5, 6] + [tiny_tokens.pad] * 9
    assert mask.sum(dim=1).tolist() == [2, 11]


def test_filling_keeps_the_callers_tensor(link: SuperLink, tiny_tokens: TokenIds):
    ids, _ = link.complete_rows([[ids_of(tiny_tokens)["[DET]"]]])
    embeds = torch.zeros(1, 4, WIDTH)
    filled = link.fill_slots(embeds, ids)
    assert not embeds.any()
    filled.sum().backward()
    assert torch.equal(link.table("[DET]").grad, torch.ones(3, WIDTH))


def test_detection_condition_leaves_other_routes_out(link: SuperLink, tiny_tokens: TokenIds):
    route = ids_of(tiny_tokens)
    ids, _ = link.complete_rows([[route["[POSE]"], route["[DET]"]], [5, 6]])
    hidden = torch.randn(*ids.shape, WIDTH)
    super_link, class_mask = link.gather_detection(hidden, ids)
    assert class_mask.tolist() == [[True], [False]]
    assert torch.equal(super_link[0, 0], hidden[0, 5:8])
    assert not super_link[1].any()


def test_batch_without_routing_token_gives_an_empty_condition(link: SuperLink):
    ids = torch.tensor([[5, 6], [7, 8]])
    super_link, class_mask = link.gather_detection(torch.randn(2, 2, WIDTH), ids)
    assert super_link.shape == (2, 0, 3, WIDTH)
    assert class_mask.shape == (2, 0)


def test_too_many_groups_are_refused():
    like = torch.zeros(3, WIDTH)
    with pytest.raises(InputError, match="at most 2 slot groups fit in one row, got 3"):
        pack_groups([[like] * 3], like=like, length=2)


def test_pose_row_without_keypoints_asks_for_nothing(link: SuperLink, tiny_tokens: TokenIds):
    route = ids_of(tiny_tokens)
    ids, _ = link.complete_rows(
        [[route["[DET]"], route["[POSE]"], route["[POSE]"]], [route["[DET]"]]]
    )
    hidden = torch.randn(*ids.shape, WIDTH)
    pose = pack_pose(link.gather(hidden, ids), [1, 1], like=link.table("[POSE]"))
    assert pose.object_mask.sum(dim=1).tolist() == [1, 0]
    assert pose.keypoint_mask.sum(dim=1).tolist() == [2, 0]
    assert torch.equal(pose.keypoints[0, 1], hidden[0, 9:12])
    assert pose.objects.shape == (2, 100, 3, WIDTH)
