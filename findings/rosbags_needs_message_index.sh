#!/bin/sh
# rosbags 0.11.9 with an MCAP that has a chunk index and no message index (valid by the MCAP
# specification; written by the MCAP project's own library when asked for only that index): the
# reader counts the messages and yields none of them, without an error. The mcap library reads all.
# With neither index rosbags reads all, too.
#
# Seen: "mcap: 3 messages, rosbags: 0 messages, count 3". Exit code 1 when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rosbags==0.11.9 mcap==1.6.0
"$folder/venv/bin/python" - "$folder/drive.mcap" <<'EOF'
import sys
from pathlib import Path

from mcap.reader import make_reader
from mcap.writer import IndexType, Writer
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

store = get_typestore(Stores.ROS2_JAZZY)
kind = "std_msgs/msg/String"
data = bytes(store.serialize_cdr(store.types[kind](data="hello"), kind))
path = Path(sys.argv[1])
with path.open("wb") as file:
    writer = Writer(file, index_types=IndexType.CHUNK)
    writer.start("ros2", "finding")
    schema = writer.register_schema(kind, "ros2msg", b"string data\n")
    channel = writer.register_channel("/chatter", "cdr", schema)
    for time_ns in (1, 2, 3):
        writer.add_message(channel, time_ns, data, time_ns)
    writer.finish()
with path.open("rb") as file:
    expected = sum(1 for _ in make_reader(file).iter_messages())
with Reader(path) as reader:
    got, count = sum(1 for _ in reader.messages()), reader.message_count
print(f"mcap: {expected} messages, rosbags: {got} messages, count {count}")
sys.exit((expected, got, count) != (3, 0, 3))
EOF
