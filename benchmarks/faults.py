"""Inject faults into a running node and time its first report and its next answer.

    python benchmarks/faults.py [--json] [--only NAME]

Each fault has a node of its own with the embedded model, a camera at 10 Hz and a client, on
plain DDS in a free domain on the loopback. Printed for each:

* `reported_s`: from the fault to its first report outside of the node: a result that is not OK, an
  ERROR on /diagnostics, a line in the log, or the end of the process;
* `answered_s`: from the fault to the next answer, to a client that asks repeatedly;
* `is_kept`: reported within 2 s and answered within 5 s; null is never, as far as was waited.

The exit code is 1 unless all are kept. Seconds depend on the machine's load, which is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from soaking.children import Child, NodeChild
from soaking.node import FAULT_MARK, STRING
from soaking.stage import PATIENCE_S, Stage, set_stage

from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos

REPORT_BOUND_S, ANSWER_BOUND_S = 2.0, 5.0
#: The watchdog takes a model for hung after this; stages of the embedded one are shorter.
WATCHDOG = ("--watchdog", "on", "--perceiver-stall-s", "1.0")
#: Without a watchdog nothing ends a hang but itself.
HANG_S = 3.0

#: Seconds from the fault to the report and to the next answer; None: it did not come.
Times = tuple[float | None, float | None]


def perceiver_raises(stage: Stage) -> Times:
    """The perceiver raises an unexpected exception."""
    node = stage.host()
    node.request(fault="raise")
    began_s = time.monotonic()
    reported_s = stage.wait_for_report(stage.send())
    return since(began_s, reported_s, stage.wait_until_answering())


def perceiver_hangs(stage: Stage) -> Times:
    """The perceiver hangs for 3 s under a deadline of 0.5 s, without a watchdog."""
    node = stage.host()
    node.request(fault="hang", seconds=HANG_S)
    began_s = time.monotonic()
    reported_s = stage.wait_for_report(stage.send(deadline_s=0.5))
    return since(began_s, reported_s, stage.wait_until_answering())


def perceiver_hangs_under_watchdog(stage: Stage) -> Times:
    """The perceiver's process is stopped in its tracks; the watchdog kills and restarts it."""
    served = stage.serve(WATCHDOG)
    os.kill(served.find_model_process(), signal.SIGSTOP)
    began_s = time.monotonic()
    reported_s = stage.wait_for_report(stage.send(), served)
    return since(began_s, reported_s, stage.wait_until_answering())


def perceiver_is_killed(stage: Stage) -> Times:
    """The perceiver's process is killed while it answers."""
    served = stage.serve(WATCHDOG)
    command_id = stage.send()
    # During an answer; if that is there already, the log reports the end all the same.
    time.sleep(0.03)
    os.kill(served.find_model_process(), signal.SIGKILL)
    began_s = time.monotonic()
    reported_s = stage.wait_for_report(command_id, served)
    return since(began_s, reported_s, stage.wait_until_answering())


def callback_raises(stage: Stage) -> Times:
    """A callback of the transport raises."""
    node = stage.host()
    publisher = stage.link.advertise("/vl2/raise_in_callback", STRING, Qos())
    end_s = time.monotonic() + PATIENCE_S
    while not publisher.count_subscribers():
        if time.monotonic() > end_s:
            raise RuntimeError(f"the node does not subscribe to {STRING} within {PATIENCE_S:g} s")
        time.sleep(0.01)
    began_s = time.monotonic()
    publisher.publish(stage.link.types.make(STRING, data="anything"))
    reported_s = wait_for_log(node, FAULT_MARK)
    return since(began_s, reported_s, stage.wait_until_answering())


def disk_is_full(stage: Stage) -> Times:
    """Nothing more can be written while answers are recorded; then there is room again."""
    lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "soaking.full_disk", folder]
        child = Child(command, stage.environment, lines.put)
        try:
            began, failed = (lines.get(timeout=60.0) for _ in range(2))
            if "failed" not in failed or failed["left"]:
                raise RuntimeError(f"expected an error and no file left behind, got {failed}")
            recorded = lines.get(timeout=60.0)
        except queue.Empty:
            raise RuntimeError(f"the recording process ended: {child.tail()}") from None
        finally:
            child.close()
    return since(began["began"], failed["failed"], recorded["first"])


def node_is_killed(stage: Stage) -> Times:
    """The node's process is killed; a supervisor starts it again."""
    served = stage.serve()
    began_s = time.monotonic()
    os.kill(served.child.pid, signal.SIGKILL)
    answered_s = stage.wait_until_answering()
    return since(began_s, served.ends[0][0] if served.ends else None, answered_s)


def node_is_terminated(stage: Stage) -> Times:
    """SIGTERM while commands wait: each is answered CANCELED; a supervisor starts it again."""
    served = stage.serve(("--camera", "absent"))
    # No camera publishes there, so they wait as long as their deadline.
    waiting = [stage.send(camera="absent", deadline_s=60.0) for _ in range(3)]
    time.sleep(0.3)
    began_s = time.monotonic()
    served.child.terminate()
    heard_s = [stage.wait_for_result(one, (Status.CANCELED,), 3.0) for one in waiting]
    answered_s = stage.wait_until_answering()
    reported_s = [one for one in heard_s if one is not None]
    return since(began_s, max(reported_s) if len(reported_s) == len(waiting) else None, answered_s)


FAULTS: tuple[Callable[[Stage], Times], ...] = (
    perceiver_raises,
    perceiver_hangs,
    perceiver_hangs_under_watchdog,
    perceiver_is_killed,
    callback_raises,
    disk_is_full,
    node_is_killed,
    node_is_terminated,
)


def since(began_s: float, *moments_s: float | None) -> Times:
    """Return the seconds from the fault to report and answer."""
    reported_s, answered_s = (None if one is None else one - began_s for one in moments_s)
    return reported_s, answered_s


def wait_for_log(node: NodeChild, mark: str) -> float | None:
    """Return when a line with this mark came in the node's log; None when none comes."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if (moment_s := node.find_log_line(mark)) is not None:
            return moment_s
        time.sleep(0.01)
    return None


def inject(fault: Callable[[Stage], Times]) -> dict[str, Any]:
    """Inject one fault and return its row."""
    row: dict[str, Any] = {"fault": fault.__name__, "reported_s": None, "answered_s": None}
    try:
        with set_stage() as stage:
            reported_s, answered_s = fault(stage)
    except Exception as error:
        return {**row, "is_kept": False, "note": f"{type(error).__name__}: {error}"}
    for name, seconds in (("reported_s", reported_s), ("answered_s", answered_s)):
        row[name] = None if seconds is None else round(seconds, 3)
    is_kept = (
        reported_s is not None
        and answered_s is not None
        and reported_s <= REPORT_BOUND_S
        and answered_s <= ANSWER_BOUND_S
    )
    return {**row, "is_kept": is_kept, "note": ""}


def print_row(row: dict[str, Any]) -> None:
    """Print one row for people."""
    times = ["never" if row[key] is None else f"{row[key]:.2f}" for key in _TIMES]
    verdict = "kept" if row["is_kept"] else "NOT KEPT"
    print(f"{row['fault']:32} {times[0]:>10} {times[1]:>10}  {verdict}  {row['note']}")


_TIMES = ("reported_s", "answered_s")


def main() -> int:
    """Inject every fault, print, and return 1 unless all bounds are kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--only", choices=[fault.__name__ for fault in FAULTS], help="one fault")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if options.only in (None, fault.__name__)]
    rows = []
    for fault in chosen:
        rows.append(inject(fault))
        if not options.json:
            print_row(rows[-1])
    document = {"faults": rows, "load_average": round(os.getloadavg()[0], 2)}
    if options.json:
        print(json.dumps(document, indent=1))
    else:
        print(f"load average {document['load_average']}")
    return int(not all(row["is_kept"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
