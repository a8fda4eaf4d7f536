"""Load one node in every way at once for a while, and count what becomes of each command.

    python benchmarks/soak.py --minutes 30 --json [--seed 0]

One process runs the node with the embedded model on plain DDS, in a free domain on the loopback.
Others load it: a camera at 30 Hz that dies, by SIGKILL every other time, and comes back with
another size, raw, compressed or both; a steady camera at 10 Hz; three watches (every image, 5 Hz,
2 Hz); two clients that send sensible, wrong and hostile commands, cancel some, and ask again at
once in the last third of each minute; clients that are killed while their commands wait; live
changes of parameters. A separate listener receives the results.

Printed, as JSON with `--json`:

* `commands`: all that were sent and ask for a result, watches included, stops not;
* `lost`: those without their final result at the end; `doubles`: final results beyond it;
* `rss_growth_percent`: median resident memory of the node's process in the last tenth, against as
  long a time after minute 2 (after the first fifth of less than ten minutes);
* `watch_longest_gap_s`: the longest time for which a watch was due and its camera sent images, but
  no result came (`soaking.accounting.find_longest_gap_s`); `watches` has it for each;
* counts of final results by status, images, stops, deaths and so on; the load average at the begin
  and at the end, as the gaps depend on what else the machine does.

Choices come from the seed; how they meet in time does not. The exit code is 1 when a command is
lost or answered twice, when the node ends badly, or when a part of the soak itself failed. Linux
only, as memory is read from /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from soaking.accounting import Ledger, find_growth, summarize_watches
from soaking.children import Child, NodeChild, make_environment, measure_rss_mb
from soaking.drivers import Asker, Cameras, Soak, Watcher, change_parameters, let_clients_vanish

from vl2_ros.clients.client import PerceptionClient
from vl2_ros.clients.demo import find_free_domain
from vl2_ros.transports.dds.transport import DdsTransport

#: Longer than any deadline of the soak; what has no result then has none.
SETTLE_S = 20.0
_PROBE_S = 60.0


def open_link(soak: Soak, links: contextlib.ExitStack, name: str) -> DdsTransport:
    """Open the transport of one client."""
    link = DdsTransport(name, domain_id=int(soak.environment["ROS_DOMAIN_ID"]))
    return links.enter_context(contextlib.closing(link))


def wait_for_listener(soak: Soak, link: DdsTransport) -> None:
    """Ask until the listener receives a result, so that it misses none of those that count.

    Raises:
        RuntimeError: if it receives none.
    """
    client = PerceptionClient(link)
    client.require_node(_PROBE_S)
    for number in range(int(_PROBE_S)):
        command_id = f"probe-{number}"
        soak.ledger.expect(command_id)
        client.send("find the mug", command_id=command_id)
        if soak.ledger.wait_until_answered(command_id, 1.0):
            soak.ledger.wait_until_settled(2.0)
            soak.ledger = Ledger()
            return
    raise RuntimeError("the listener receives no results; is DDS blocked on the loopback?")


def run_driver(soak: Soak, name: str, run: Callable[[], None]) -> None:
    """Run one driver; what it raises is a trouble of the whole soak."""
    try:
        run()
    except Exception as error:
        soak.troubles.append(f"{name}: {type(error).__name__}: {error}")


def sample_memory(soak: Soak, samples: list[tuple[float, float]]) -> None:
    """Note the node's memory twice a second; its end ends the soak."""
    while not soak.is_over.wait(0.5):
        if soak.node.exit_code is not None:
            soak.troubles.append(f"the node ended with code {soak.node.exit_code}")
            soak.is_over.set()
            return
        samples.append((time.monotonic() - soak.began_s, measure_rss_mb(soak.node.pid)))


@contextlib.contextmanager
def start_drivers(soak: Soak, links: contextlib.ExitStack, cameras: Cameras) -> Iterator[None]:
    """Load the node in the body, in every way."""
    askers = [Asker(soak, name, open_link(soak, links, name)) for name in ("bert", "carl")]
    watcher = Watcher(soak, open_link(soak, links, "anna"))
    drivers: dict[str, Callable[[], None]] = {
        "first asker": askers[0].run,
        "second asker": askers[1].run,
        "watches": watcher.run,
        "cameras": cameras.run,
        "parameters": lambda: change_parameters(soak),
        "vanishing clients": lambda: let_clients_vanish(soak),
    }
    threads = [
        threading.Thread(target=run_driver, args=(soak, name, run), name=name)
        for name, run in drivers.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        soak.is_over.set()
        for thread in threads:
            thread.join()


def run_soak(total_s: float, seed: int) -> dict[str, Any]:
    """Run it and return the counts."""
    load_begin = os.getloadavg()[0]
    environment = make_environment(find_free_domain())
    os.environ.update(environment)
    node = NodeChild(environment)
    samples: list[tuple[float, float]] = []
    with contextlib.ExitStack() as links:
        # Closed here also when something fails; the exit code is asked for below.
        links.callback(node.close)
        node.wait_until_ready()
        soak = Soak(Ledger(), node, environment, seed, total_s)
        command = ["-m", "soaking.listener"]
        listener = Child(command, environment, lambda line: soak.ledger.receive(line))
        links.callback(listener.close)
        cameras = Cameras(soak)
        links.callback(cameras.close)
        wait_for_listener(soak, open_link(soak, links, "probe"))
        soak.began_s = time.monotonic()
        with start_drivers(soak, links, cameras):
            sample_for(soak, samples)
        end_s = time.monotonic()
        soak.ledger.wait_until_settled(SETTLE_S)
        # Doubles come after the first; a moment for the last of them.
        time.sleep(1.0)
        report = node.request(report=True) if node.exit_code is None else {}
    return {
        **summarize(soak, samples, end_s),
        "node": report,
        "node_exit_code": node.close(),
        "node_log_lines": node.log_count,
        "load_average": [round(load_begin, 2), round(os.getloadavg()[0], 2)],
    }


def sample_for(soak: Soak, samples: list[tuple[float, float]]) -> None:
    """Sample memory until the time is over or the node has ended."""
    timer = threading.Timer(soak.total_s, soak.is_over.set)
    timer.daemon = True
    timer.start()
    try:
        sample_memory(soak, samples)
    finally:
        timer.cancel()


def summarize(soak: Soak, samples: list[tuple[float, float]], end_s: float) -> dict[str, Any]:
    """Return the document without the node's own report."""
    watches = summarize_watches(soak.ledger.list_watches(), soak.camera_up, end_s)
    gaps_s = [watch["longest_gap_s"] for watch in watches.values()]
    ran_s = end_s - soak.began_s
    return {
        "minutes": round(ran_s / 60, 3),
        "seed": soak.seed,
        **soak.ledger.summarize(),
        **find_growth(samples, samples[-1][0] if samples else ran_s),
        "watch_longest_gap_s": max(gaps_s, default=0.0),
        "watches": watches,
        **dict(sorted(soak.counts.items())),
        "troubles": soak.troubles,
    }


def print_lines(document: dict[str, Any]) -> None:
    """Print the document for people, one key a line."""
    for key, value in document.items():
        print(f"{key:24} {json.dumps(value) if isinstance(value, dict | list) else value}")


def main() -> int:
    """Run, print, and return 1 when something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    document = run_soak(options.minutes * 60, options.seed)
    if options.json:
        print(json.dumps(document, indent=1))
    else:
        print_lines(document)
    faults = (document["lost"], document["doubles"], document["node_exit_code"])
    return int(any(faults) or bool(document["troubles"]))


_Raw = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    sys.exit(main())
