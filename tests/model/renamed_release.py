"""A whole released state dict in our names, as loading a checkpoint renames tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vl2_ros.model.checkpoint.release_keys import check_alias, rename_key


def rename_release_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate names; those that no release has are kept, so that a strict load lists them."""
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
