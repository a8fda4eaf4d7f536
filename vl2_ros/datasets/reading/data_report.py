"""A report of what a set contains and of what is bad in it: counts by reason, the first names."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from vl2_ros.errors import InputError

logger = logging.getLogger(__name__)

#: Share of the records of one kind from which on a loss is named loudly.
LOUD_SHARE = 0.01
#: Names that are kept for each reason.
_NAMES = 10
_SHOWN_NAMES = 3


class BadRecordError(InputError):
    """A record that cannot be used; sources catch it, count it and take the next one.

    Args:
        unit: what is lost, in the plural: "images", "annotations".
        reason: the same words for all records of a kind.
        detail: about this one.
    """

    def __init__(self, unit: str, reason: str, detail: str = "") -> None:
        """Store the words."""
        super().__init__(detail or reason)
        self.unit, self.reason, self.detail = unit, reason, detail


@dataclass(slots=True)
class Loss:
    """The records that were skipped for one reason.

    Attributes:
        unit: what they are, in the plural.
        reason: why.
        count: how many.
        names: the first of them.
    """

    unit: str
    reason: str
    count: int = 0
    names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class DataReport:
    """Counts of the records of one set.

    Attributes:
        name: of the set.
        strict: raise at the first bad record.
        totals: how many records of each unit were read, bad ones included.
        notes: what was changed in records that are used, and how often.
    """

    name: str
    strict: bool = False
    totals: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    _losses: dict[tuple[str, str], Loss] = field(default_factory=dict)

    def skip(self, bad: BadRecordError, name: str) -> None:
        """Count a bad record.

        Raises:
            InputError: if the report is strict.
        """
        if self.strict:
            detail = f" ({bad.detail})" if bad.detail else ""
            raise InputError(
                f"{self.name}: {name}: {bad.reason}{detail}; correct it, or read the set without "
                "strict, which skips such records"
            )
        loss = self._losses.setdefault((bad.unit, bad.reason), Loss(bad.unit, bad.reason))
        loss.count += 1
        if len(loss.names) < _NAMES:
            loss.names.append(f"{name} ({bad.detail})" if bad.detail else name)

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Return what was skipped, by reason."""
        return tuple(self._losses.values())

    def lost_share(self, unit: str) -> float:
        """Return the share of the records of a unit that was skipped, 0..1."""
        lost = sum(loss.count for loss in self.losses if loss.unit == unit)
        return lost / self.totals[unit] if self.totals[unit] else float(lost > 0)

    @property
    def is_lossy(self) -> bool:
        """Return whether more than `LOUD_SHARE` of some unit was skipped."""
        return any(self.lost_share(loss.unit) > LOUD_SHARE for loss in self.losses)

    def list_warnings(self) -> list[str]:
        """Return a sentence for each reason, and loud ones for units of which much is lost."""
        lines = [
            f"{self.name}: LOST {self.lost_share(unit):.1%} OF THE {unit.upper()}: more than "
            f"{LOUD_SHARE:.0%} cannot be used; the reasons follow"
            for unit in dict.fromkeys(loss.unit for loss in self.losses)
            if self.lost_share(unit) > LOUD_SHARE
        ]
        for loss in self.losses:
            more = ", ..." if loss.count > _SHOWN_NAMES else ""
            names = ", ".join(loss.names[:_SHOWN_NAMES])
            lines.append(f"{self.name}: {loss.count} {loss.unit}: {loss.reason}: {names}{more}")
        return lines

    def log(self) -> None:
        """Log everything that was skipped."""
        for line in self.list_warnings():
            logger.warning("%s", line)

    def describe(self) -> dict[str, Any]:
        """Return the report as values of JSON."""
        return {
            "records": dict(self.totals),
            "lost_share": {unit: round(self.lost_share(unit), 6) for unit in self.totals},
            "bad": [
                {"unit": one.unit, "reason": one.reason, "count": one.count, "names": one.names}
                for one in self.losses
            ],
            "notes": dict(self.notes),
        }
