#!/bin/sh
# rosbags 0.11.9 (Python 3.10 to 3.14): Sqlite3Reader opens a .db3 with SQLite's `immutable=1`, so the
# messages in the write-ahead log beside it (FILE.db3-wal) are left out, without an error or a warning.
# rosbag2 records .db3 with that log on; it is there while a recorder runs and after one was killed, and
# SQLite itself (sqlite3 module, `ros2 bag play`) reads it as a part of the database.
#
# Seen: "SQLite: 4 messages, rosbags: 2 messages". Exit code 1 when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rosbags==0.11.9
"$folder/venv/bin/python" - "$folder/bag" <<'EOF'
import sqlite3
import sys
from pathlib import Path

from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

store = get_typestore(Stores.ROS2_JAZZY)
kind = "std_msgs/msg/String"
data = store.serialize_cdr(store.types[kind](data="hello"), kind)
bag = Path(sys.argv[1])
with Writer(bag, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
    topic = writer.add_connection("/chatter", kind, typestore=store)
    for time_ns in (1, 2):
        writer.write(topic, time_ns, data)
file = bag / f"{bag.name}.db3"
recorder = sqlite3.connect(file)
recorder.execute("PRAGMA journal_mode = wal")
for time_ns in (3, 4):
    recorder.execute(
        "INSERT INTO messages(topic_id, timestamp, data) SELECT id, ?, ? FROM topics",
        (time_ns, bytes(data)),
    )
recorder.commit()
expected = sqlite3.connect(file).execute("SELECT COUNT(*) FROM messages").fetchone()[0]
with Reader(file) as reader:
    got = sum(1 for _ in reader.messages())
print(f"SQLite: {expected} messages, rosbags: {got} messages")
sys.exit((expected, got) != (4, 2))
EOF
