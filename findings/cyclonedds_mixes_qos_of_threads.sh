#!/bin/sh
# cyclonedds 11.0.1 (Python): the QoS that discovery hands out is converted through fields of a class
# that all threads share, so that two threads that read builtin topics at the same time get each
# other's values: a reliable writer is reported as best effort. One thread alone gets it right.
#
# Seen: "wrong with one thread: 0, with two: more than 0". Exit code 1 when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet cyclonedds==11.0.1
"$folder/venv/bin/python" - <<'EOF'
import sys
import threading

from cyclonedds.qos import Policy, Qos, _CQos

KINDS = (Policy.Reliability.Reliable(0), Policy.Reliability.BestEffort)
ROUNDS = 20_000


def count_wrong(kind, wrong):
    native = _CQos.qos_to_cqos(Qos(kind))
    for _ in range(ROUNDS):
        wrong.append(_CQos.cqos_to_qos(native)[Policy.Reliability] != kind)
    _CQos.cqos_destroy(native)


sys.setswitchinterval(1e-5)
alone, together = [], []
for kind in KINDS:
    count_wrong(kind, alone)
threads = [threading.Thread(target=count_wrong, args=(kind, together)) for kind in KINDS]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
two = "more than 0" if any(together) else "0"
print(f"wrong with one thread: {sum(alone)}, with two: {two}")
sys.exit(any(alone) or not any(together))
EOF
