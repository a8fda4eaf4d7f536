"""The super link: query tables in the LLM's input, its states at them as a decoder's input.

Right after every routing token there are K (or Kg) slots. The LLM reads the query table there,
whatever ids sit in the row, and its last states there are the decoder's condition
(docs/spec/core.md, section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vl2_ros.errors import InputError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.slots import (
    GENERATION_TABLES,
    SlotGroup,
    SlotSpan,
    find_slots,
    gather_slots,
    insert_slots,
    slot_counts,
)
from vl2_ros.model.language.tokens import ROUTING_TABLES, TokenIds

__all__ = [
    "PoseCondition",
    "SlotGroup",
    "SlotSpan",
    "SuperLink",
    "find_slots",
    "gather_slots",
    "insert_slots",
    "pack_groups",
    "pack_pose",
    "slot_counts",
]

#: Query tables in the order of `Route`.
TABLES = tuple(dict.fromkeys(ROUTING_TABLES.values()))

#: Rows that the pose decoder's object and keypoint conditions are padded to.
POSE_LENGTH = 100


class SuperLink(nn.Module):
    """The four query tables `det`, `pose`, `gen` and `edit`."""

    def __init__(self, config: ModelConfig, tokens: TokenIds) -> None:
        """Make fresh tables."""
        super().__init__()
        self.tokens = tokens
        self.counts = slot_counts(
            tokens, num_embs=config.num_embs, num_embs_gen=config.num_embs_gen
        )
        for name in TABLES:
            rows = config.num_embs_gen if name in GENERATION_TABLES else config.num_embs
            table = nn.Embedding(rows, config.llm_width)
            nn.init.normal_(table.weight, std=config.table_init_std)
            self.add_module(name, table)

    def table(self, route: str) -> Tensor:
        """Return the (K, C) query table of a routing token."""
        return self.get_submodule(ROUTING_TABLES[route]).weight

    def complete_rows(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Insert missing slots in each row by itself, then pad on the right.

        Returns:
            input_ids (B, T) int64 and attention_mask (B, T) bool, true = real.

        Raises:
            InputError: if a routing token has some of its slots but not all.
        """
        complete = [insert_slots(row, self.tokens, self.counts) for row in rows]
        longest = max(len(row) for row in complete)
        ids = [row + [self.tokens.pad] * (longest - len(row)) for row in complete]
        mask = [[index < len(row) for index in range(longest)] for row in complete]
        device = self.table("[DET]").device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def fill_slots(self, embeds: Tensor, ids: Tensor) -> Tensor:
        """Put the query tables at the slots.

        Args:
            embeds: (B, T, C) input embeddings.
            ids: (B, T) ids with slots already present.

        Returns:
            (B, T, C), a new tensor when there is a slot.

        Raises:
            InputError: if a row ends before the slots of a routing token do.
        """
        rows: list[int] = []
        indices: list[int] = []
        queries: list[Tensor] = []
        for row, row_ids in enumerate(ids.tolist()):
            for span in find_slots(row_ids, self.tokens, self.counts):
                rows += [row] * span.count
                indices += range(span.start, span.start + span.count)
                queries.append(self.table(span.route))
        if not queries:
            return embeds
        index = (
            torch.tensor(rows, device=embeds.device),
            torch.tensor(indices, device=embeds.device),
        )
        return embeds.index_put(index, torch.cat(queries).to(embeds.dtype))

    def gather(self, hidden: Tensor, ids: Tensor) -> list[list[SlotGroup]]:
        """Read the states at the slots of each row, in sequence order.

        Args:
            hidden: (B, T, C) LLM states after the final norm.
            ids: (B, T) ids that were fed.
        """
        return [
            gather_slots(states, row_ids, self.tokens, self.counts)
            for states, row_ids in zip(hidden, ids.tolist(), strict=True)
        ]

    def gather_detection(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Read and pack the condition of the detection decoder for a batch.

        Returns:
            super_link (B, N, K, C), zero where there is no group, and class_mask (B, N) bool.
        """
        rows = [
            [group.states for group in groups if ROUTING_TABLES[group.route] == "det"]
            for groups in self.gather(hidden, ids)
        ]
        return pack_groups(rows, like=hidden.new_zeros(self.table("[DET]").shape))

    def ignored_labels(self) -> list[int]:
        """Return the ids that are never a target of the LM loss."""
        return self.tokens.slot_ids(len(self.table("[DET]")))


def pack_groups(
    rows: Sequence[Sequence[Tensor]], *, like: Tensor, length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Stack the slot states of several rows, zero padded on the right.

    Args:
        rows: for each row its (K, C) states.
        like: a (K, C) tensor that gives shape, dtype and device also when all rows are empty.
        length: N; by default the longest row.

    Returns:
        super_link (B, N, K, C) and class_mask (B, N) bool, true where there is a group.

    Raises:
        InputError: if a row is longer than `length`.
    """
    longest = max((len(row) for row in rows), default=0)
    length = longest if length is None else length
    if longest > length:
        raise InputError(f"at most {length} slot groups fit in one row, got {longest}")
    packed = []
    for row in rows:
        blank = like.new_zeros(length - len(row), *like.shape)
        packed.append(torch.cat([torch.stack(list(row)), blank]) if row else blank)
    sizes = torch.tensor([len(row) for row in rows], device=like.device).unsqueeze(1)
    return torch.stack(packed), torch.arange(length, device=like.device) < sizes


@dataclass(frozen=True, slots=True, eq=False)
class PoseCondition:
    """The conditions of the pose decoder.

    Attributes:
        objects: (B, 100, K, C) object classes, zero padded.
        object_mask: (B, 100) bool, true = real.
        keypoints: (B, 100, K, C) keypoint names, zero padded.
        keypoint_mask: (B, 100) bool, true = real.
    """

    objects: Tensor
    object_mask: Tensor
    keypoints: Tensor
    keypoint_mask: Tensor


def pack_pose(
    rows: Sequence[Sequence[SlotGroup]], num_objects: Sequence[int], *, like: Tensor
) -> PoseCondition:
    """Split the groups of each row into object classes, which come first, and keypoint names.

    A row that lacks either part asks for nothing.

    Args:
        rows: groups of each row from `SuperLink.gather`.
        num_objects: how many leading groups of each row are object classes.
        like: a (K, C) tensor that gives shape, dtype and device.

    Raises:
        InputError: if a row has more than 100 object classes or keypoints.
    """
    objects: list[list[Tensor]] = []
    keypoints: list[list[Tensor]] = []
    for groups, count in zip(rows, num_objects, strict=True):
        states = [
            group.states for group in groups if ROUTING_TABLES[group.route] not in GENERATION_TABLES
        ]
        is_complete = 0 < count < len(states)
        objects.append(states[:count] if is_complete else [])
        keypoints.append(states[count:] if is_complete else [])
    packed_objects = pack_groups(objects, like=like, length=POSE_LENGTH)
    packed_keypoints = pack_groups(keypoints, like=like, length=POSE_LENGTH)
    return PoseCondition(*packed_objects, *packed_keypoints)
