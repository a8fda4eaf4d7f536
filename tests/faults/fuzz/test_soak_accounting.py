"""What the soak counts: results that miss or are too many, gaps of watches, growth of memory."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from vl2_ros.node.request import Status

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
ALWAYS = ((0.0, float("inf")),)


@pytest.fixture
def accounting(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("soaking.accounting")


def result(command_id, *, text="", status=Status.OK, is_final=True, time_s=0.0):
    return {
        "id": command_id,
        "text": text,
        "status": int(status),
        "message": "",
        "is_final": is_final,
        "time_s": time_s,
    }


def test_a_command_without_a_final_result_is_lost(accounting):
    ledger = accounting.Ledger()
    for command_id in ("a", "b"):
        ledger.expect(command_id)
    ledger.receive(result("a"))
    ledger.receive(result("b", is_final=False))
    counted = ledger.summarize()
    assert counted["commands"] == 2 and counted["lost"] == 1 and counted["lost_ids"] == ["b"]
    assert not ledger.wait_until_settled(0.0)


def test_a_second_final_result_is_a_double_unless_two_commands_had_the_id(accounting):
    ledger = accounting.Ledger()
    for command_id in ("once", "twice", "twice"):
        ledger.expect(command_id)
        ledger.receive(result(command_id))
    assert ledger.summarize()["doubles"] == 0
    ledger.receive(result("once", status=Status.INVALID))
    counted = ledger.summarize()
    assert counted["doubles"] == 1 and counted["doubled_ids"] == {"once": ["OK: ", "INVALID: "]}
    assert counted["lost"] == 0


def test_results_find_long_ids_and_anonymous_commands(accounting):
    ledger = accounting.Ledger()
    ledger.expect("x" * 300)
    ledger.expect("", "7: find the mug " + "y" * 100)
    ledger.receive(result("x" * 256))
    ledger.receive(result("chosen by the node", text=("7: find the mug " + "y" * 100)[:60]))
    ledger.receive(result("unknown", status=Status.INVALID))
    counted = ledger.summarize()
    assert counted["lost"] == counted["doubles"] == 0
    assert counted["results_of_no_command"] == {"INVALID": 1}


@pytest.mark.parametrize(
    ("turns_s", "period_s", "camera_up", "gap_s"),
    [
        ([1.0, 2.0, 5.0, 6.0], 0.0, ALWAYS, 3.0),
        # It is due half a second after its turn.
        ([1.0, 2.0, 5.0, 6.0], 0.5, ALWAYS, 2.5),
        # Nothing came from the camera for two of the three seconds.
        ([1.0, 2.0, 5.0, 6.0, 7.0], 0.0, ((0.0, 2.5), (4.5, 9.0)), 1.0),
        # Before the first and after the last turn it waits as well; without any all the time.
        ([4.0, 5.0, 6.0, 7.0], 0.0, ALWAYS, 4.0),
        ([1.0, 2.0, 3.0], 0.0, ALWAYS, 5.0),
        ([], 0.5, ALWAYS, 8.0),
    ],
)
def test_the_longest_gap_of_a_watch(accounting, turns_s, period_s, camera_up, gap_s):
    watch = accounting.WatchRecord("w", "image", period_s, 0.0, turns_s)
    assert accounting.find_longest_gap_s(watch, camera_up, 8.0) == pytest.approx(gap_s)


def test_a_watch_that_has_ended_waits_no_longer(accounting):
    ledger = accounting.Ledger()
    ledger.expect_watch("w", accounting.WatchRecord("w", "image", 0.0, 0.0))
    ledger.receive(result("w", is_final=False, time_s=1.0))
    ledger.receive(result("w", status=Status.ENDED, time_s=1.5))
    watches = accounting.summarize_watches(ledger.list_watches(), {"image": list(ALWAYS)}, 100.0)
    assert watches == {"w": {"starts": 1, "results": 1, "longest_gap_s": 1.0}}


def test_memory_grows_from_after_the_warm_up_to_the_last_tenth(accounting):
    def measure(second):
        return 50.0 if second < 120 else 100.0 if second < 900 else 102.0

    samples = [(float(second), measure(second)) for second in range(1800)]
    assert accounting.find_growth(samples, 1800.0)["rss_growth_percent"] == pytest.approx(2.0)
    assert (
        accounting.find_growth(samples, 1800.0)["rss_tenths_mb"]
        == [50.0] + [100.0] * 4 + [102.0] * 5
    )
    assert accounting.find_growth(samples[:900], 900.0)["rss_growth_percent"] == 0.0
