"""Count commands sent and results received, and measure gaps in the results of watches."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from soaking.listener import TEXT_CHARACTERS
from vl2_ros.node.messages.command_messages import MAX_ID_CHARACTERS
from vl2_ros.node.request import Status
from vl2_ros.node.scheduling.schedule import REFUSED

_MOST_EXAMPLES = 20

#: Begin and end of a stretch of time, monotonic seconds.
Span = tuple[float, float]


def make_key(command_id: str, text: str) -> str:
    """Return the key of a command's results: its id as echoed, else its sentence."""
    return command_id[:MAX_ID_CHARACTERS] or text[:TEXT_CHARACTERS]


@dataclass(slots=True)
class WatchRecord:
    """One watch as observed from outside.

    Attributes:
        name: of its role, the same when it is started again.
        camera: that it watches.
        period_s: between two results at least; 0: one for every image.
        sent_s: monotonic time of the command.
        turns_s: arrival of each result.
        ended_s: arrival of the final one; None while it continues.
    """

    name: str
    camera: str
    period_s: float
    sent_s: float
    turns_s: list[float] = field(default_factory=list)
    ended_s: float | None = None


class Ledger:
    """Counts final results for every command; every method is thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sent: Counter[str] = Counter()
        # Status and message of each final result.
        self._answered: defaultdict[str, list[str]] = defaultdict(list)
        self._statuses: Counter[str] = Counter()
        self._watches: dict[str, WatchRecord] = {}
        self._foreign: Counter[str] = Counter()
        self._result_count = 0

    def expect(self, command_id: str, text: str = "") -> None:
        """Note a command before it is sent; twice the same id expects two final results."""
        with self._changed:
            self._sent[make_key(command_id, text)] += 1

    def expect_watch(self, command_id: str, record: WatchRecord) -> None:
        """Note a watch before it is sent."""
        with self._changed:
            self._sent[command_id] += 1
            self._watches[command_id] = record

    def receive(self, line: dict[str, Any]) -> None:
        """Take a line of the listener."""
        if "id" not in line:
            return
        with self._changed:
            self._result_count += 1
            key = self._find_key(line)
            watch = self._watches.get(key)
            if watch is not None and not line["is_final"]:
                watch.turns_s.append(line["time_s"])
            if line["is_final"]:
                self._note_final(key, line, watch)

    def wait_until_answered(self, command_id: str, timeout_s: float) -> bool:
        """Wait for every final result of a command; False when one is missing."""
        with self._changed:
            return self._changed.wait_for(lambda: self._missing(command_id) <= 0, timeout_s)

    def wait_until_settled(self, timeout_s: float) -> bool:
        """Wait for the final results of all commands; False when some are missing."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._list_lost(), timeout_s)

    def is_answered(self, command_id: str) -> bool:
        """Return whether nothing more is expected for this command."""
        with self._changed:
            return self._missing(command_id) <= 0

    def summarize(self) -> dict[str, Any]:
        """Return the counts; `doubles` are final results beyond one for each command."""
        with self._changed:
            lost = self._list_lost()
            doubled = [key for key in self._sent if self._missing(key) < 0]
            return {
                "commands": self._sent.total(),
                "lost": sum(self._missing(key) for key in lost),
                "doubles": -sum(self._missing(key) for key in doubled),
                "lost_ids": lost[:_MOST_EXAMPLES],
                "doubled_ids": {key: self._answered[key] for key in doubled[:_MOST_EXAMPLES]},
                "final_results": dict(sorted(self._statuses.items())),
                "results": self._result_count,
                "results_of_no_command": dict(sorted(self._foreign.items())),
            }

    def list_watches(self) -> list[WatchRecord]:
        """Return every watch that was sent."""
        with self._changed:
            return list(self._watches.values())

    def _find_key(self, line: dict[str, Any]) -> str:
        command_id: str = line["id"]
        # A second command of the same id is refused under a name of its own; a STOP has no text.
        other_id = command_id.removeprefix(REFUSED)
        if other_id != command_id and other_id in self._sent and line["text"]:
            return other_id
        return command_id if command_id in self._sent else line["text"]

    def _note_final(self, key: str, line: dict[str, Any], watch: WatchRecord | None) -> None:
        status = Status(line["status"]).name
        if key not in self._sent:
            # Refused stops come with the id that they named, or with one that was made for them.
            self._foreign[status] += 1
            return
        self._answered[key].append(f"{status}: {line['message']}")
        self._statuses[status] += 1
        if watch is not None and watch.ended_s is None:
            watch.ended_s = line["time_s"]
        self._changed.notify_all()

    def _missing(self, key: str) -> int:
        return self._sent[key] - len(self._answered.get(key, ()))

    def _list_lost(self) -> list[str]:
        return [key for key in self._sent if self._missing(key) > 0]


def find_longest_gap_s(watch: WatchRecord, camera_up: Sequence[Span], end_s: float) -> float:
    """Return the longest time for which a watch was due, had fresh images, and gave no result.

    The time between two results counts from when the watch was due again, a period after the
    earlier one, to the later one's arrival, and only as far as its camera sent images. What the
    answer itself took is in it. The time before the first and after the last result counts alike.

    Args:
        watch: as it was seen.
        camera_up: when its camera sent images.
        end_s: monotonic time up to which a watch that continues is measured.
    """
    ends_s = end_s if watch.ended_s is None else min(watch.ended_s, end_s)
    moments_s = [*(one for one in watch.turns_s if one <= ends_s), ends_s]
    due_s = [watch.sent_s, *(one + watch.period_s for one in moments_s[:-1])]
    return max(
        _measure_overlap_s((begin_s, turn_s), camera_up)
        for begin_s, turn_s in zip(due_s, moments_s, strict=True)
    )


def _measure_overlap_s(span: Span, others: Sequence[Span]) -> float:
    return sum(max(0.0, min(span[1], end) - max(span[0], begin)) for begin, end in others)


def summarize_watches(
    watches: Sequence[WatchRecord], camera_up: dict[str, list[Span]], end_s: float
) -> dict[str, dict[str, Any]]:
    """Return starts, results and longest gap of the watches of each name."""
    by_name: defaultdict[str, list[WatchRecord]] = defaultdict(list)
    for watch in watches:
        by_name[watch.name].append(watch)
    return {
        name: {
            "starts": len(group),
            "results": sum(len(watch.turns_s) for watch in group),
            "longest_gap_s": round(
                max(find_longest_gap_s(one, camera_up[one.camera], end_s) for one in group), 3
            ),
        }
        for name, group in sorted(by_name.items())
    }


def find_growth(samples: Sequence[tuple[float, float]], total_s: float) -> dict[str, Any]:
    """Compare the memory of the last tenth with that of as long a time after the warm-up.

    The warm-up is two minutes, or the first fifth of a run of less than ten minutes.

    Args:
        samples: seconds since the begin, and MiB.
        total_s: length of the run.
    """
    window_s, warm_s = total_s / 10, min(120.0, total_s / 5)
    tenths_mb = [
        round(_find_median(samples, index * window_s, (index + 1) * window_s), 1)
        for index in range(10)
    ]
    early_mb = _find_median(samples, warm_s, warm_s + window_s)
    late_mb = _find_median(samples, total_s - window_s, total_s)
    return {
        "rss_growth_percent": round((late_mb / early_mb - 1) * 100, 3),
        "rss_early_mb": round(early_mb, 2),
        "rss_late_mb": round(late_mb, 2),
        "rss_tenths_mb": tenths_mb,
    }


def _find_median(samples: Sequence[tuple[float, float]], begin_s: float, end_s: float) -> float:
    values = sorted(mb for second, mb in samples if begin_s <= second <= end_s)
    if not values:
        raise ValueError(f"no sample of the memory between {begin_s:.1f} and {end_s:.1f} s")
    return values[len(values) // 2]
