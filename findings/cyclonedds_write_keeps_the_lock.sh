#!/bin/sh
# cyclonedds 11.0.1 (Python): DataWriter.write calls dds_write with the interpreter's lock, so no other
# thread of the process runs until the message is sent: 3 ms for an image of 1280x720, longer where DDS
# waits for a slow subscription. The same call by ctypes releases the lock.
#
# Seen: "steps of another thread meanwhile: binding few, ctypes many". Exit code 1 when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet cyclonedds==11.0.1
"$folder/venv/bin/python" - <<'EOF'
import ctypes
import sys
import threading
from dataclasses import dataclass

from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import sequence, uint8
from cyclonedds.internal import DDS, c_call
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy, Qos
from cyclonedds.topic import Topic

SIZE, WRITES = 64_000_000, 10


@dataclass
class Blob(IdlStruct):
    data: sequence[uint8]

    def serialize(self, **options):
        return CDR


class Sample(ctypes.Structure):
    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_size_t))


class Library(DDS):
    @c_call("dds_write")
    def write(self, writer: ctypes.c_int32, sample: ctypes.c_void_p) -> ctypes.c_int32:
        pass


CDR = b"\0\1\0\0" + SIZE.to_bytes(4, "little") + bytes(SIZE)
blob, sample = Blob(data=[]), Sample(CDR, len(CDR))
participant = DomainParticipant(230)
kept = Qos(Policy.Durability.TransientLocal, Policy.History.KeepLast(1))
writer = DataWriter(participant, Topic(participant, "blob", Blob), kept)
steps, is_over = [0], threading.Event()


def count():
    while not is_over.is_set():
        steps[0] += 1


def steps_during(write):
    sys.setswitchinterval(1e-4)
    total = 0
    for _ in range(WRITES):
        before = steps[0]
        write()
        total += steps[0] - before
    return total


thread = threading.Thread(target=count)
thread.start()
held = steps_during(lambda: writer.write(blob))
free = steps_during(lambda: Library(0).write(writer._ref, ctypes.byref(sample)))
is_over.set()
thread.join()
few, many = ("few" if held < free / 3 else "many"), ("many" if free > 1000 else "few")
print(f"steps of another thread meanwhile: binding {few}, ctypes {many} ({held}, {free})")
sys.exit((few, many) != ("few", "many"))
EOF
