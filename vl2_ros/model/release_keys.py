"""State-dict names of the released VisionLLM v2 checkpoints to the names here, as one table.

Knows names and row blocks, no file. A name is translated alone, so that a loader can stream shards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vl2_ros.errors import CheckpointError

#: Parts of a release that no class here serves yet; their keys are skipped.
KNOWN_LATER = (r"^unipose\.", r"^sd\.", r"^ip2p\.")

#: Buffers that are computed again.
RECOMPUTED = (r"\.relative_position_index$", r"\.inv_freq$", r"\.position_ids$")

#: Names that one tensor may have in a release; any of them fills the one module here.
_BOX_HEAD = r"^gdino\.(?:model\.decoder\.)?bbox_embed\.\d+\."
_MASK_HEAD = r"^gdino\.mask_embed\.\d+\."
_DECODER = r"^(detection_decoder\.)"

#: Rewrites, all applied in this order: top modules, backbone, the rest of the detection decoder.
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^vis_encoder\.(?:vision_model\.)?", "vision_encoder."),
        (r"^vl_bridge\.", "projector."),
        (r"^emb_embeddings_(det|pose|gen|edit)\.", r"super_link.\1."),
        (_BOX_HEAD, "detection_decoder.box_head."),
        (_MASK_HEAD, "detection_decoder.mask_head."),
        (r"^gdino\.patch2query\.", "detection_decoder.text_projection."),
        (r"^gdino\.model\.", "detection_decoder."),
        # Swin, as transformers 5 names it.
        (r"^(detection_decoder\.backbone)\.conv_encoder\.model\.", r"\1."),
        (r"^(detection_decoder\.backbone)\.(embeddings|encoder)\.", r"\1.swin.\2."),
        (r"(\.blocks\.\d+\.attention)\.self\.query\.", r"\1.q_proj."),
        (r"(\.blocks\.\d+\.attention)\.self\.key\.", r"\1.k_proj."),
        (r"(\.blocks\.\d+\.attention)\.self\.value\.", r"\1.v_proj."),
        (r"(\.blocks\.\d+\.attention)\.self\.(relative_position_bias)_table$", r"\1.\2.\2_table"),
        (r"(\.blocks\.\d+\.attention)\.output\.dense\.", r"\1.o_proj."),
        (r"(\.blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
        (r"(\.blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
        # Glue around transformers' encoder and decoder.
        (_DECODER + r"input_proj_vision\.", r"\1levels.projections."),
        (_DECODER + r"level_embed$", r"\1levels.level_embed"),
        (_DECODER + r"query_position_embeddings\.", r"\1query_embeddings."),
        (_DECODER + r"enc_output\.", r"\1query_selection.projection."),
        (_DECODER + r"enc_output_norm\.", r"\1query_selection.norm."),
        (_DECODER + r"encoder_output_bbox_embed\.", r"\1query_selection.box_head."),
        (_DECODER + r"mask_embed\.", r"\1encoder_mask_head."),
        (_DECODER + r"mask_features\.", r"\1mask_branch.features."),
        (_DECODER + r"(lateral|output)_convs\.(\d+)\.norm\.", r"\1mask_branch.\2_convs.\3.1."),
        (_DECODER + r"(lateral|output)_convs\.(\d+)\.w", r"\1mask_branch.\2_convs.\3.0.w"),
    )
)
_PACKED_ATTENTION = re.compile(r"^(detection_decoder\..*)\.in_proj_(weight|bias)$")
_OURS = re.compile(r"^(vision_encoder|projector|llm|region_encoder|super_link|detection_decoder)\.")
_SKIPPED = re.compile("|".join(KNOWN_LATER + RECOMPUTED))


@dataclass(frozen=True, slots=True)
class KeyTarget:
    """Where (a part of) a released tensor goes.

    Attributes:
        name: our state-dict name.
        block: index of the block of rows that is meant, of `blocks` equal ones.
        blocks: 1 for a whole tensor, 3 for packed query, key and value.
    """

    name: str
    block: int = 0
    blocks: int = 1

    def take(self, tensor: Tensor) -> Tensor:
        """Return the rows that belong to `name`, a view.

        Raises:
            CheckpointError: if the rows cannot be divided.
        """
        if self.blocks == 1:
            return tensor
        if tensor.ndim == 0 or tensor.shape[0] % self.blocks:
            raise CheckpointError(
                f"{self.name}: expected rows in {self.blocks} equal blocks, "
                f"got shape {tuple(tensor.shape)}"
            )
        return tensor.chunk(self.blocks)[self.block]


def rename_key(name: str) -> list[KeyTarget] | None:
    """Return where one released tensor goes.

    Returns:
        One target, or three for packed attention weights; an empty list for a known name that is
        skipped (`KNOWN_LATER`, `RECOMPUTED`); None for a name that no release has.
    """
    if _SKIPPED.search(name):
        return []
    renamed = name
    for pattern, replacement in _REWRITES:
        renamed = pattern.sub(replacement, renamed)
    packed = _PACKED_ATTENTION.match(renamed)
    if packed is not None:
        prefix, kind = packed.groups()
        return [
            KeyTarget(f"{prefix}.{part}.{kind}", block, 3)
            for block, part in enumerate(("query", "key", "value"))
        ]
    return [KeyTarget(renamed)] if _OURS.match(renamed) else None


def rename_release_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate a whole released state dict.

    Shared heads may come under one or all of their names. Names that no release has are kept as
    they are, so that a strict load lists them.

    Raises:
        CheckpointError: if names of one shared tensor hold different values.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        targets = rename_key(name)
        if targets is None:
            renamed[name] = tensor
            continue
        for target in targets:
            part = target.take(tensor)
            known = renamed.setdefault(target.name, part)
            check_alias(target.name, known, part)
    return renamed


def check_alias(name: str, known: Tensor, other: Tensor) -> None:
    """Check that two released tensors that fill one place are equal.

    Raises:
        CheckpointError: if they differ.
    """
    if known is other or known.is_meta or torch.equal(known, other):
        return
    raise CheckpointError(
        f"{name}: the checkpoint holds this shared tensor under several names with different "
        "values; expected one value, the file is damaged or of another model"
    )
