"""Measure the share of camera images that reach the node on ROS 2, next to bare subscribers.

    source install/setup.bash          # ROS 2 and this package
    RMW_IMPLEMENTATION=rmw_fastrtps_cpp python benchmarks/camera_share.py
        [--install NAME=PREFIX ...] [--settings FOLDER] [--only CASE ...] [--seconds 10] [--json]

A camera process sends images of prepared bytes at a steady rate, with reliable QoS unless
`--offer best_effort`; the table has the rate that it really reached. One reader at a time counts:

* `node`: the node's own count of received images, from /diagnostics; a column for each `--install`,
  the installation of a version (what `colcon build` made), so that before and after are in one
  table; by default the one that is sourced.
* `reliable`, `best effort`: a subscriber of rclpy that does nothing else, with a depth of 5.

Each with three kinds of settings for the middleware:

* `both`: launch/fastdds.xml or launch/cyclonedds.xml at the camera and the reader;
* `ours`: the node as `ros2 launch vl2_ros perception.launch.py` starts it, the camera without; the
  bare subscribers with the file;
* `none`: no file at all, the node by `ros2 run`.

A share is of the images sent in the window, after seconds in which everything has met. What the
node says of the camera is printed below the table. Shares depend on the machine and its load,
which is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soaking.children import Child, make_environment

HERE = Path(__file__).resolve()
PATIENCE_S = 90.0
#: Seconds of images before those that count, and without images before a count is read.
WARM_S, QUIET_S = 4.0, 2.5
BARE_DEPTH = 5
SETTINGS = {
    "CYCLONEDDS_URI": "file://{}/cyclonedds.xml",
    "FASTRTPS_DEFAULT_PROFILES_FILE": "{}/fastdds.xml",
    "FASTDDS_DEFAULT_PROFILES_FILE": "{}/fastdds.xml",
}
KINDS = ("both", "ours", "none")


@dataclass(frozen=True)
class Case:
    """One set of cameras."""

    name: str
    cameras: int
    width: int
    height: int
    rate_hz: float

    @property
    def topics(self) -> list[str]:
        """Return the image topic of each camera."""
        return [f"/camera_{index}/image" for index in range(self.cameras)]


CASES = (
    Case("vga30", 1, 640, 480, 30.0),
    Case("hd30", 1, 1280, 720, 30.0),
    Case("3xhd10", 3, 1280, 720, 10.0),
)


# The roles of child processes: each reads JSON lines and answers each by one.


def play_camera(case: Case, offer: str) -> None:
    """Send images when asked: `{"seconds": s}` is answered by how many went out, and the rate."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    node = start_node("camera")
    qos = QoSProfile(depth=BARE_DEPTH, reliability=ReliabilityPolicy[offer.upper()])
    message = Image(height=case.height, width=case.width, encoding="rgb8", step=3 * case.width)
    # An array of bytes is taken as it is: nothing is converted for an image.
    message.data.frombytes(os.urandom(message.step * case.height))
    publishers = [node.create_publisher(Image, topic, qos) for topic in case.topics]
    end_s = time.monotonic() + PATIENCE_S
    while not all(one.get_subscription_count() for one in publishers):
        if time.monotonic() > end_s:
            raise SystemExit(f"nothing subscribes to the camera within {PATIENCE_S:g} s")
        time.sleep(0.05)
    reply(ready=True)
    for line in sys.stdin:
        began_s = time.monotonic()
        count = round(json.loads(line)["seconds"] * case.rate_hz)
        for index in range(count):
            time.sleep(max(0.0, began_s + index / case.rate_hz - time.monotonic()))
            message.header.stamp = node.get_clock().now().to_msg()
            for publisher in publishers:
                publisher.publish(message)
        spent_s = time.monotonic() - began_s
        reply(sent=count * case.cameras, rate_hz=round(count / spent_s, 1))
    rclpy.shutdown()


def play_bare(case: Case, reliability: str) -> None:
    """Subscribe to the images; each line is answered by how many have come."""
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    counts = [0]

    def take(message: Image) -> None:
        counts[0] += 1

    node = start_node("bare")
    qos = QoSProfile(depth=BARE_DEPTH, reliability=ReliabilityPolicy[reliability.upper()])
    for topic in case.topics:
        node.create_subscription(Image, topic, take, qos)
    spin(node)
    reply(ready=True)
    for _ in sys.stdin:
        reply(received=counts[0], says=[])


def play_diagnostics(case: Case) -> None:
    """Listen to the node; each line is answered by the images that it has received."""
    from diagnostic_msgs.msg import DiagnosticArray

    cameras: dict[str, dict[str, Any]] = {}

    def take(message: DiagnosticArray) -> None:
        for status in message.status:
            values = {one.key: one.value for one in status.values}
            if ": camera " in status.name:
                text = f"{status.message} ({values.get('reliability', 'best_effort')})"
                cameras[status.name] = {"received": int(values["received"]), "says": text}

    node = start_node("listener")
    node.create_subscription(DiagnosticArray, "/diagnostics", take, 10)
    spin(node)
    while len(cameras) < case.cameras:
        time.sleep(0.05)
    reply(ready=True)
    for _ in sys.stdin:
        received = sum(one["received"] for one in cameras.values())
        reply(received=received, says=[one["says"] for one in cameras.values()])


def start_node(name: str) -> Any:
    """Start ROS 2 in this process."""
    import rclpy

    rclpy.init()
    return rclpy.create_node(name)


def spin(node: Any) -> None:
    """Spin a node on a thread of its own, which ends with the process."""
    import threading

    import rclpy

    threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()


def reply(**fields: Any) -> None:
    """Write one line to the parent."""
    print(json.dumps(fields), flush=True)


# The parent.


class Player:
    """A child process in one of the roles."""

    def __init__(self, words: list[str], environment: Mapping[str, str]) -> None:
        """Start it."""
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.child = Child([str(HERE), *words], environment, self._lines.put)

    def wait(self, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return its next line."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s and self.child.exit_code is None:
            with contextlib.suppress(queue.Empty):
                return self._lines.get(timeout=0.5)
        log = " | ".join(self.child.tail().splitlines())
        raise RuntimeError(f"a process of the benchmark says nothing: {log}")

    def ask(self, timeout_s: float = PATIENCE_S, **fields: Any) -> dict[str, Any]:
        """Send a line and return the reply."""
        self.child.send(**fields)
        return self.wait(timeout_s)


@contextlib.contextmanager
def playing(words: list[str], environment: Mapping[str, str]) -> Iterator[Player]:
    """Run a role until the body ends."""
    player = Player(words, environment)
    try:
        yield player
    finally:
        player.child.close()


@contextlib.contextmanager
def running_node(
    case: Case, kind: str, prefix: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    """Run the node of an installation until the body ends."""
    with tempfile.TemporaryDirectory() as folder:
        parameters = Path(folder) / "parameters.yaml"
        values = {"cameras": case.topics, "depth_topics": [""]}
        parameters.write_text(json.dumps({"/**": {"ros__parameters": values}}))
        words = ["ros2", "launch", "vl2_ros", "perception.launch.py", f"params_file:={parameters}"]
        if kind == "none":
            words = ["ros2", "run", "vl2_ros", "perception", "--ros-args"]
            words += ["--params-file", str(parameters)]
        log = Path(folder) / "log"
        with log.open("w") as out:
            process = subprocess.Popen(
                ["bash", "-c", 'source "$0/local_setup.bash" && exec "$@"', str(prefix), *words],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(f"{error}; the node: {log.read_text()[-500:]}") from None
        finally:
            end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it has started."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10.0)
            break
    # A launch that was killed leaves its node behind.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def add_settings(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return an environment with the files for DDS."""
    return {**environment, **{name: text.format(folder) for name, text in SETTINGS.items()}}


def count_images(camera: Player, reader: Player, seconds: float) -> dict[str, Any]:
    """Send images, and return the share that the reader has counted."""
    camera.ask(seconds=WARM_S)
    time.sleep(QUIET_S)
    before = reader.ask(count=True)["received"]
    sent = camera.ask(timeout_s=PATIENCE_S + 5 * seconds, seconds=seconds)
    time.sleep(QUIET_S)
    after = reader.ask(count=True)
    share = (after["received"] - before) / sent["sent"]
    return {"share": round(share, 3), "sent_hz": sent["rate_hz"], "says": after["says"]}


def measure(
    case: Case, kind: str, reader: str, prefix: Path | None, options: argparse.Namespace
) -> dict[str, Any]:
    """Measure one reader; a failure is a note instead of a share."""
    plain = make_environment(options.domain)
    for name in SETTINGS:
        plain.pop(name, None)
    ours = plain if kind == "none" else add_settings(plain, options.settings)
    theirs = ours if kind == "both" else plain
    with contextlib.ExitStack() as stack:
        try:
            if prefix is None:
                words = ["--role", "bare", "--case", case.name, "--offer", reader]
            else:
                # With `ours` the launch file is what brings the settings.
                own = ours if kind == "both" else plain
                stack.enter_context(running_node(case, kind, prefix, own))
                words = ["--role", "diagnostics", "--case", case.name]
            counting = ours if prefix is None else plain
            counter = stack.enter_context(playing(words, counting))
            counter.wait()
            words = ["--role", "camera", "--case", case.name, "--offer", options.offer]
            camera = stack.enter_context(playing(words, theirs))
            camera.wait()
            return count_images(camera, counter, options.seconds)
        except RuntimeError as error:
            return {"share": None, "sent_hz": None, "says": [str(error)]}


def print_table(rows: list[dict[str, Any]], readers: list[str]) -> None:
    """Print all cells, and what the nodes say."""
    print(f"| cameras | settings | sent Hz | {' | '.join(readers)} |")
    print("|---" * (3 + len(readers)) + "|")
    for row in rows:
        cells = [row["readers"][reader] for reader in readers]
        rates = sorted({cell["sent_hz"] for cell in cells if cell["sent_hz"] is not None})
        shares = ["-" if cell["share"] is None else f"{cell['share']:.1%}" for cell in cells]
        sent = f"{rates[0]} to {rates[-1]}" if rates else "-"
        print(f"| {row['case']} | {row['settings']} | {sent} | {' | '.join(shares)} |")
    for row in rows:
        for reader in readers:
            for text in row["readers"][reader]["says"]:
                print(f"{row['case']}, {row['settings']}, {reader}: {text}")


def find_installed() -> Path:
    """Return the installation of this package that is sourced."""
    from ament_index_python.packages import get_package_prefix

    return Path(get_package_prefix("vl2_ros"))


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [case.name for case in CASES]
    parser.add_argument("--install", action="append", default=[], metavar="NAME=PREFIX")
    parser.add_argument("--settings", type=Path, default=HERE.parents[1] / "launch")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seconds", type=float, default=10.0, help="of images that count")
    parser.add_argument("--offer", choices=("reliable", "best_effort"), default="reliable")
    parser.add_argument("--domain", type=int, default=int(os.environ.get("ROS_DOMAIN_ID", "0")))
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser.parse_args()


def run_role(options: argparse.Namespace) -> None:
    """Be a child process."""
    (case,) = [one for one in CASES if one.name == options.case]
    if options.role == "camera":
        play_camera(case, options.offer)
    elif options.role == "bare":
        play_bare(case, options.offer)
    else:
        play_diagnostics(case)


def main() -> None:
    """Measure every cell and print."""
    options = read_options()
    if options.role:
        run_role(options)
        return
    options.settings = options.settings.resolve()
    installs = dict(one.split("=", 1) for one in options.install) or {"node": find_installed()}
    for prefix in installs.values():
        if not Path(prefix, "share", "vl2_ros").is_dir():
            sys.exit(f"{prefix} is no installation of vl2_ros; build it with colcon")
    readers: dict[str, tuple[str, Path | None]] = {
        name: ("", Path(prefix).resolve()) for name, prefix in installs.items()
    }
    readers |= {name: (name.replace(" ", "_"), None) for name in ("reliable", "best effort")}
    rows = []
    for case in CASES:
        for kind in options.kinds if case.name in options.only else ():
            cells = {
                name: measure(case, kind, reliability, prefix, options)
                for name, (reliability, prefix) in readers.items()
            }
            rows.append({"case": case.name, "settings": kind, "readers": cells})
            if not options.json:
                print(f"{case.name} {kind} is measured", file=sys.stderr)
    facts = {
        "rmw": os.environ.get("RMW_IMPLEMENTATION", "default"),
        "offer": options.offer,
        "load_average": round(os.getloadavg()[0], 2),
    }
    if options.json:
        print(json.dumps({**facts, "rows": rows}, indent=1))
        return
    print_table(rows, list(readers))
    print(", ".join(f"{name} {value}" for name, value in facts.items()))


if __name__ == "__main__":
    main()
