from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import vl2_ros
from vl2_ros.datasets.commands import CommandExample
from vl2_ros.datasets.scene_questions.relations import PlacedThing
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import load_tokenizer
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS
from vl2_ros.structures import Frame, Route
from vl2_ros.training.embedded.loss import TokenLabeller
from vl2_ros.training.embedded.tabletop_batches import (
    LABELLED_KINDS,
    MIN_CROP,
    TabletopBatches,
    TokenLabels,
    View,
    augment,
    label_phrases,
    label_tokens,
    make_targets,
    pad_rows,
)

WEIGHTS = Path(vl2_ros.__file__).parent / "embedded"
OBJECTS = (PlacedThing("mug", "red", 0.6, 0.5), PlacedThing("ball", "blue", 0.0, 0.3))


def make_scene() -> tuple[np.ndarray, np.ndarray]:
    """A red square right of the middle and a blue one at the left border."""
    rgb = np.full((240, 320, 3), 128, np.uint8)
    instance_map = np.zeros((240, 320), np.uint8)
    rgb[100:140, 180:240] = (200, 20, 20)
    instance_map[100:140, 180:240] = 1
    rgb[60:80, 0:20] = (20, 20, 200)
    instance_map[60:80, 0:20] = 2
    return rgb, instance_map


@pytest.mark.parametrize("seed", range(12))
def test_augmented_objects_keep_their_colour_and_box(seed: int):
    rgb, instance_map = make_scene()
    view = augment(rgb, instance_map, OBJECTS, np.random.default_rng(seed))
    height, width = view.frame.frame_hw
    assert height * 4 == width * 3
    assert width >= MIN_CROP * 320 - 4
    for index, (item, box) in enumerate(zip(view.objects, view.boxes_xyxy, strict=True)):
        inside = view.instance_map == index + 1
        rows, columns = np.nonzero(inside)
        extent = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        np.testing.assert_array_equal(box, extent)
        assert item.x == pytest.approx((box[0] + box[2]) / (2 * width))
        assert item.y == pytest.approx((box[1] + box[3]) / (2 * height))
        mean = view.frame.rgb[inside].mean(axis=0)
        assert (mean[0] > mean[2]) == (item.color == "red")


def test_object_that_the_crop_mostly_cut_is_dropped_from_map_and_list():
    rgb, instance_map = make_scene()
    views = [augment(rgb, instance_map, OBJECTS, np.random.default_rng(s)) for s in range(40)]
    assert {len(view.objects) for view in views} == {1, 2}
    for view in views:
        assert int(view.instance_map.max()) == len(view.objects)


def test_augmentation_leaves_the_cached_frame_alone():
    rgb, instance_map = make_scene()
    before = rgb.copy(), instance_map.copy()
    for seed in range(5):
        augment(rgb, instance_map, OBJECTS, np.random.default_rng(seed))
    np.testing.assert_array_equal(rgb, before[0])
    np.testing.assert_array_equal(instance_map, before[1])


def test_targets_follow_the_answer_order_and_masks_follow_the_objects():
    _, instance_map = make_scene()
    view = View(
        frame=Frame(np.zeros((240, 320, 3), np.uint8)),
        instance_map=instance_map,
        objects=OBJECTS,
        boxes_xyxy=np.array([(180, 100, 240, 140), (0, 60, 20, 80)], np.float32),
    )
    example = CommandExample(
        question="",
        answer="",
        route=Route.DETECT,
        phrases=("ball", "can", "mug"),
        targets=((1,), (), (0,)),
        routes=(Route.DETECT,) * 3,
    )
    targets = make_targets(view, example, (60, 80))
    assert targets.class_index.tolist() == [0, 2]
    np.testing.assert_allclose(
        targets.boxes_cxcywh_norm[1], (210 / 320, 120 / 240, 60 / 320, 40 / 240), rtol=1e-6
    )
    assert targets.masks[0].sum() == 5 * 5
    assert targets.masks[1].sum() == 10 * 15
    assert targets.masks[1][25:35, 45:60].all()


def test_frame_without_named_objects_gives_empty_targets():
    _, instance_map = make_scene()
    view = View(Frame(np.zeros((240, 320, 3), np.uint8)), instance_map, (), np.zeros((0, 4)))
    example = CommandExample("", "", Route.DETECT, ("can",), ((),), (Route.DETECT,))
    targets = make_targets(view, example, (60, 80))
    assert targets.boxes_cxcywh_norm.shape == (0, 4)
    assert targets.masks.shape == (0, 60, 80)


def test_rows_are_padded_on_the_right_and_padding_is_neither_seen_nor_learned():
    rows = [(np.array([1, 5, 6]), np.array([-100, 5, 6])), (np.array([1]), np.array([-100]))]
    padded = pad_rows(rows, [["red mug"], ["violin", "mug"]], pad_id=9)
    assert padded.input_ids.tolist() == [[1, 5, 6], [1, 9, 9]]
    assert padded.labels.tolist() == [[-100, 5, 6], [-100, -100, -100]]
    assert padded.attention_mask.tolist() == [[True, True, True], [True, False, False]]
    mug = 1 + KINDS.index("mug")
    assert padded.named.kinds.tolist() == [[mug, -1], [0, mug]]
    assert padded.named.colors.tolist() == [[1 + COLORS.index("red"), -1], [0, 0]]


def test_token_labels_are_what_the_centre_of_each_cell_shows():
    _, instance_map = make_scene()
    view = View(Frame(np.zeros((240, 320, 3), np.uint8)), instance_map, OBJECTS, np.zeros((2, 4)))
    labels = label_tokens([view], (12, 16))
    kinds = labels.kinds.reshape(12, 16)
    colors = labels.colors.reshape(12, 16)
    # Cells are 20 pixels wide: the red mug covers rows 5 and 6, columns 9 to 11.
    assert (kinds[5:7, 9:12] == 1 + KINDS.index("mug")).all()
    assert (colors[3, 0], colors[5, 9]) == (1 + COLORS.index("blue"), 1 + COLORS.index("red"))
    assert int((kinds > 0).sum()) == 7


def test_phrases_of_several_words_are_labelled_by_their_kind():
    labels = label_phrases([["red potted plant", "potted plant", "orange"]])
    plant = 1 + LABELLED_KINDS.index("potted plant")
    assert labels.kinds.tolist() == [[plant, plant, 0]]
    assert labels.colors.tolist() == [[1 + COLORS.index("red"), 0, 0]]


def test_colours_that_are_not_known_cost_nothing():
    _, instance_map = make_scene()
    objects = (PlacedThing("person", "", 0.6, 0.5), PlacedThing("ball", "blue", 0.0, 0.3))
    view = View(Frame(np.zeros((240, 320, 3), np.uint8)), instance_map, objects, np.zeros((2, 4)))
    labels = label_tokens([view], (12, 16))
    person = labels.kinds == 1 + LABELLED_KINDS.index("person")
    assert person.any() and (labels.colors[person] == -1).all()
    torch.manual_seed(0)
    labeller, tokens = TokenLabeller(8), torch.randn(1, 12 * 16, 8)
    loss = labeller.compute_loss(tokens, labels)
    # The head of colours is the last one; what it says of the person does not matter.
    with torch.no_grad():
        kinds_end = len(LABELLED_KINDS) + 1
        rows = labeller(tokens)[0, :, kinds_end:].log_softmax(-1)
        known = ~person[0]
        expected = -rows[known, labels.colors[0][known]].mean()
        kinds = labeller(tokens)[0, :, :kinds_end].log_softmax(-1)
        expected -= kinds[torch.arange(192), labels.kinds[0]].mean()
    torch.testing.assert_close(loss.detach(), expected)
    unknown = TokenLabels(torch.full((1, 192), -1), torch.full((1, 192), -1))
    assert labeller.compute_loss(tokens, unknown) == 0.0


class Scenes:
    """Household scenes of one chair."""

    def __len__(self) -> int:
        return 3

    def read_scene(self, index: int) -> View:
        rgb, instance_map = make_scene()
        instance_map[instance_map == 2] = 0
        return SimpleNamespace(
            rgb=rgb, instance_map=instance_map, objects=(PlacedThing("chair", "", 0.6, 0.5),)
        )


class Cache(Scenes):
    """Frames of the table."""

    def __getitem__(self, index: int) -> SimpleNamespace:
        rgb, instance_map = make_scene()
        return SimpleNamespace(rgb=rgb, instance_map=instance_map, objects=OBJECTS)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_images_of_households_are_asked_about_in_their_words(share: float):
    tokenizer, config = load_tokenizer(WEIGHTS), ProcessingConfig.load(WEIGHTS)
    batches = TabletopBatches(
        Cache(), tokenizer, config, batch_size=4, household=Scenes(), household_share=share, seed=5
    )
    chair = 1 + LABELLED_KINDS.index("chair")
    households = 0
    for _ in range(12):
        batch = batches.next()
        shown = (batch.decoder_token_labels.kinds == chair).any(dim=1)
        households += int(shown.sum())
        for index in range(4):
            named = set(batch.rows.named.kinds[index].tolist()) - {-1, 0}
            table = {1 + LABELLED_KINDS.index(kind) for kind in KINDS}
            # Rows of tables never name a chair as a kind; those of households name no cube.
            assert not (shown[index] and (1 + LABELLED_KINDS.index("cube")) in named)
            assert shown[index] or named <= table | {1 + LABELLED_KINDS.index("chair")}
    assert abs(households / 48 - share) < 0.2
