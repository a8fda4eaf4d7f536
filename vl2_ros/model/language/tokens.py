"""Special tokens of VisionLLM v2, and the slots of each routing token (docs/spec/core.md, 2, 5).

Strings and ids only; knows no tokenizer library and no tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vl2_ros.documents import check_int, shorten
from vl2_ros.errors import CheckpointError
from vl2_ros.model.parts import ROUTE_PARTS

#: Query table (a name of `SuperLink`) that fills the slots after each routing token.
ROUTING_TABLES: Mapping[str, str] = {
    route.value: part.query_table for route, part in ROUTE_PARTS.items()
}
SLOT_TOKENS = ("[EMB]", "[EMB2]", "[EMB3]", "[EMB4]", "[EMB5]", "[EMB6]", "[EMB7]", "[EMB8]")

#: Added to the base vocabulary in this order; 26 strings.
ADDED_TOKENS = (
    "[PAD]",
    "<image>",
    "<im_patch>",
    "<region>",
    "<img>",
    "</img>",
    "<reg>",
    "</reg>",
    "<det>",
    "</det>",
    "<grd>",
    "</grd>",
    *ROUTING_TABLES,
    *SLOT_TOKENS,
)


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Ids of the special tokens in one vocabulary, read from the checkpoint's tokenizer.

    Attributes:
        image_patch: id of `<im_patch>`, one per image feature.
        region: id of `<region>`, one per region feature.
        routing: id of a routing token -> the token.
        slots: ids of `[EMB]`, `[EMB2]`, ... in order.
        eos: id that ends an answer.
        pad: id that fills a row on the right.
        more_ends: ids that end an answer as `eos` does, ascending.
    """

    image_patch: int
    region: int
    routing: Mapping[int, str]
    slots: tuple[int, ...]
    eos: int
    pad: int
    more_ends: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check that ids are ids.

        Raises:
            CheckpointError: if one is no whole number of at least 0, or a token has no table.
        """
        ids = (self.image_patch, self.region, *self.routing, *self.slots, *self.ends)
        for token_id in ids:
            check_int("a token's id", token_id, error=CheckpointError)
        # Older configurations write -1 for "none".
        check_int("the id of the padding", self.pad, least=-1, error=CheckpointError)
        if not self.slots or not set(self.routing.values()) <= set(ROUTING_TABLES):
            raise CheckpointError(
                f"expected slots and routing tokens of {', '.join(ROUTING_TABLES)}, got "
                f"{len(self.slots)} slots and {shorten(list(self.routing.values()))}"
            )

    @property
    def ends(self) -> tuple[int, ...]:
        """Return every id that ends an answer."""
        return (self.eos, *self.more_ends)

    @classmethod
    def from_lookup(
        cls,
        lookup: Callable[[str], int | None],
        *,
        eos: int,
        pad: int,
        more_ends: Sequence[int] = (),
    ) -> TokenIds:
        """Read the ids through `lookup`, a function from token to id.

        Raises:
            CheckpointError: if the vocabulary lacks one of the added tokens.
        """

        def find(token: str) -> int:
            found = lookup(token)
            if found is None:
                raise CheckpointError(
                    f"the tokenizer has no {token!r}; expected the {len(ADDED_TOKENS)} added "
                    "tokens of VisionLLM v2, use the tokenizer saved with the checkpoint"
                )
            return check_int(f"the id of {token}", found, error=CheckpointError)

        return cls(
            image_patch=find("<im_patch>"),
            region=find("<region>"),
            routing={find(token): token for token in ROUTING_TABLES},
            slots=tuple(find(token) for token in SLOT_TOKENS),
            eos=eos,
            pad=pad,
            more_ends=tuple(sorted(set(more_ends) - {eos})),
        )

    @classmethod
    def from_base(cls, base: int, *, eos: int = 2, pad: int = 0) -> TokenIds:
        """Number the added tokens from `base` on, as every released vocabulary does."""
        table = {token: base + index for index, token in enumerate(ADDED_TOKENS)}
        return cls.from_lookup(table.get, eos=eos, pad=pad)

    def slot_ids(self, count: int) -> list[int]:
        """Return the ids written into `count` slots: [EMB], [EMB2].. up to 8, else [EMB] repeated.

        The ids only mark the positions; the input embedding comes from the query table.
        """
        if count <= len(self.slots):
            return list(self.slots[:count])
        return [self.slots[0]] * count
