"""The report of a fuzzer."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class FuzzReport:
    """Cases that were run, and what they found.

    Attributes:
        cases: inputs that were read.
        finds: one line each: which input, what came out.
    """

    cases: int = 0
    finds: list[str] = field(default_factory=list)
