"""Plan which stored tensor goes where in a network, and what does not fit, by name and shape.

Made before a single value is read, so that a wrong checkpoint is refused at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Size, Tensor, nn

from vl2_ros.model.checkpoint.release_keys import KeyTarget, rename_key

_NAMES_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Place:
    """One tensor of a network.

    Attributes:
        names: its state-dict names; more than one where modules share it.
        shape: its shape.
        is_float: whether it has floating-point numbers, else integers.
    """

    names: tuple[str, ...]
    shape: Size
    is_float: bool


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How the tensors of a checkpoint fill a network.

    Attributes:
        targets: stored name -> where its blocks of rows go; skipped names are not in it.
        missing: names of the network that nothing fills.
        unexpected: stored names that fit nowhere.
        mismatched: one line per tensor of another shape, or integers in place of floats.
        skipped: the same as `targets` for tensors of parts that are not wanted.
        total_bytes: size of the stored tensors in `targets`.
    """

    targets: dict[str, list[KeyTarget]]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    skipped: dict[str, list[KeyTarget]]
    total_bytes: int

    def describe_problems(self, *, strict: bool) -> str:
        """Return what does not fit; "" when everything can be loaded."""
        problems = [_summarise("of another shape or kind", self.mismatched)]
        if strict:
            problems.append(_summarise("missing", self.missing))
            problems.append(_summarise("unexpected", self.unexpected))
        return "\n".join(filter(None, problems))


def find_places(model: nn.Module) -> dict[str, Place]:
    """Map every state-dict name of a network to its place."""
    state = model.state_dict(keep_vars=True)
    shared: dict[int, list[str]] = {}
    for name, tensor in state.items():
        shared.setdefault(id(tensor), []).append(name)
    return {
        name: Place(tuple(shared[id(tensor)]), tensor.shape, tensor.is_floating_point())
        for name, tensor in state.items()
    }


def plan_loading(
    stored: Iterable[tuple[str, Tensor]],
    places: dict[str, Place],
    *,
    is_release: bool,
    is_skipped: Callable[[str], bool],
) -> LoadPlan:
    """Find a place for every stored tensor.

    Args:
        stored: names and tensors; only shapes are read.
        places: from `find_places`.
        is_release: whether names are those of the release, to be translated first.
        is_skipped: whether a part, the first of our names of a tensor, is not loaded.
    """
    targets: dict[str, list[KeyTarget]] = {}
    unexpected: list[str] = []
    mismatched: list[str] = []
    skipped: dict[str, list[KeyTarget]] = {}
    filled: set[str] = set()
    total_bytes = 0
    for name, tensor in stored:
        found = rename_key(name) if is_release else [KeyTarget(name)]
        if found and is_skipped(found[0].part):
            skipped[name] = found
            continue
        if found is None or any(target.name not in places for target in found):
            unexpected.append(name)
            continue
        if not found:
            continue
        targets[name] = found
        total_bytes += tensor.nbytes
        for target in found:
            filled.update(places[target.name].names)
        # The blocks of a packed tensor are of one shape: one line is enough.
        if not _fits(tensor, found[0], places[found[0].name]):
            mismatched.append(_describe_shapes(name, tensor, found[0], places[found[0].name]))
    missing = tuple(name for name in places if name not in filled)
    return LoadPlan(targets, missing, tuple(unexpected), tuple(mismatched), skipped, total_bytes)


def _fits(tensor: Tensor, target: KeyTarget, place: Place) -> bool:
    if tensor.is_floating_point() != place.is_float:
        return False
    if target.blocks == 1:
        return tensor.shape == place.shape
    rows = place.shape[0] * target.blocks if place.shape else 0
    return tensor.ndim > 0 and tensor.shape == Size((rows, *place.shape[1:]))


def _describe_shapes(name: str, tensor: Tensor, target: KeyTarget, place: Place) -> str:
    expected = str(tuple(place.shape)) + (f" x {target.blocks}" if target.blocks > 1 else "")
    if tensor.is_floating_point() != place.is_float:
        expected = f"{'float' if place.is_float else 'integer'} {expected}"
        return f"{name} (expected {expected}, got {tensor.dtype} {tuple(tensor.shape)})"
    return f"{name} (expected {expected}, got {tuple(tensor.shape)})"


def _summarise(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    groups = Counter(name.split(".", 1)[0] for name in names)
    counts = ", ".join(f"{group} {count}" for group, count in groups.most_common())
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
    return f"{len(names)} tensors {what} ({counts}): {shown}"
