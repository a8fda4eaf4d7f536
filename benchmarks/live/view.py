"""Measure the live page beside a camera and a node on this machine: first frame, rate, memory.

    python benchmarks/live/view.py [--minutes 10] [--pages 1] [--cores 2] [--camera-rate 30]

A 640x480 camera, a node with the embedded model that watches it, `vl2 view` and pages that show
every frame at once, all on the same cores.

* `first_annotated_s`: from the start of `vl2 view` to the first frame with a result drawn in.
* `start_cpu_s`: processor time of `vl2 view` until then, which other processes change least.
* `frames_per_s`: that each page was sent, over the whole time.
* `view_cores`, `node_cores`: processor time of the two processes a second.
* `rss_mb`: resident memory of `vl2 view`, median of each tenth; `rss_growth_percent`: the last of
  them against the second, the first being the start.
* `load`: processes that wanted a core, the whole machine's; above --cores, others worked as well.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import IO

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from vl2_ros.clients.demo import find_free_domain
from vl2_ros.console.node_commands import DEMO_BAG
from vl2_ros.views.live.server import STREAM_PATH

SENTENCE = "segment every cube"
CAMERA = "/benchmark/camera"
PERIOD_S = 1.0
PATIENCE_S = 120.0
TENTHS = 10


class Command:
    """One `vl2` command as a process; its output is read on a thread, so that it never blocks."""

    def __init__(self, *words: str) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vl2_ros.cli", *words], stdout=subprocess.PIPE, text=True
        )
        self._printed = ""
        self._changed = threading.Condition()
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def wait_for(self, pattern: str) -> str:
        """Return the first group of what it prints."""
        with self._changed:
            self._changed.wait_for(lambda: re.search(pattern, self._printed), PATIENCE_S)
            found = re.search(pattern, self._printed)
        assert found, f"{pattern} is not in {self._printed!r}"
        return found[1]

    def measure_mb(self) -> float:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def measure_cpu_s(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def _read(self, output: IO[str]) -> None:
        for line in output:
            with self._changed:
                self._printed += line
                self._changed.notify_all()


class Page:
    """Shows every frame at once, on a thread of its own."""

    def __init__(self, stream: ClientConnection) -> None:
        """Begin to show."""
        self.frames = 0
        self.annotated_at: float | None = None
        self._stream = stream
        threading.Thread(target=self._show, daemon=True).start()

    def _show(self) -> None:
        while True:
            try:
                one = self._stream.recv()
                if isinstance(one, str):
                    continue
                self._stream.send('{"type": "shown"}')
            except ConnectionClosed:
                return
            self.frames += 1
            header = json.loads(one[4 : 4 + int.from_bytes(one[:4], "big")])
            if self.annotated_at is None and header["age_s"] is not None:
                self.annotated_at = time.perf_counter()


def open_page(port: int, stack: ExitStack) -> Page:
    """Connect as the page of a browser does."""
    origin = f"http://127.0.0.1:{port}"
    url = f"ws://127.0.0.1:{port}{STREAM_PATH}"
    return Page(stack.enter_context(connect(url, origin=origin, compression=None, max_size=None)))


def run(minutes: float, pages: int, camera_rate: float) -> dict[str, object]:
    """Start everything, measure and end it."""
    os.environ["ROS_DOMAIN_ID"] = str(find_free_domain())
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with ExitStack() as stack:

        def start(*words: str) -> Command:
            command = Command(*words)
            stack.callback(command.close)
            return command

        camera = ("--onto", CAMERA, "--loop", "--rate", str(camera_rate))
        start("camera", str(DEMO_BAG), *camera)
        node = start("serve", "--camera", CAMERA)
        node.wait_for("(looks at)")
        watch = start("send", SENTENCE, "--watch", "0", "--json")
        watch.wait_for('"sequence": ([1-9])')
        began = time.perf_counter()
        view = start("view", "--port", "0")
        port = int(view.wait_for(r"http://127\.0\.0\.1:(\d+)/"))
        served_at = time.perf_counter()
        opened = [open_page(port, stack) for _ in range(pages)]
        while opened[0].annotated_at is None:
            if time.perf_counter() > served_at + PATIENCE_S:
                raise RuntimeError(f"no annotated frame came within {PATIENCE_S:g} s")
            time.sleep(0.01)
        document = {
            "served_s": round(served_at - began, 2),
            "first_annotated_s": round(opened[0].annotated_at - began, 2),
            "start_cpu_s": round(view.measure_cpu_s(), 2),
        }
        return document | measure(opened, view, node, 60.0 * minutes)


def measure(pages: list[Page], view: Command, node: Command, seconds: float) -> dict[str, object]:
    """Count frames and look at the processes for a time."""
    began = time.perf_counter()
    before = view.measure_cpu_s(), node.measure_cpu_s(), [page.frames for page in pages]
    rss_mb = []
    while (spent_s := time.perf_counter() - began) < seconds:
        rss_mb.append(view.measure_mb())
        time.sleep(PERIOD_S)
    edges = [len(rss_mb) * index // TENTHS for index in range(TENTHS + 1)]
    tenths = [rss_mb[first:end] for first, end in pairwise(edges)]
    medians = [round(statistics.median(one), 1) for one in tenths if one]
    return {
        "minutes": round(spent_s / 60, 1),
        "frames_per_s": [
            round((page.frames - count) / spent_s, 2)
            for page, count in zip(pages, before[2], strict=True)
        ],
        "view_cores": round((view.measure_cpu_s() - before[0]) / spent_s, 2),
        "node_cores": round((node.measure_cpu_s() - before[1]) / spent_s, 2),
        "rss_mb": medians,
        "rss_growth_percent": round((medians[-1] / medians[1] - 1) * 100, 1),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Run it and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--pages", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--camera-rate", type=float, default=30.0)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    document = run(options.minutes, options.pages, options.camera_rate)
    print(json.dumps({"cores": options.cores, **document}, indent=1))


if __name__ == "__main__":
    main()
