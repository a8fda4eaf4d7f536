#!/bin/sh
# foxglove-sdk 0.30.3: channels keep no reference to the Context that they were made in. When the
# Context is collected, the server that was started with it stays up and advertises no channel, and
# logging to the channels raises nothing.
#
# Seen: "advertised with the context: 1, without: 0". Exit code 1 when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet foxglove-sdk==0.30.3 websockets==15.0.1
"$folder/venv/bin/python" - <<'EOF'
import asyncio
import gc
import json
import sys

import foxglove
import websockets
from foxglove.channels import CompressedImageChannel


async def count_channels(port: int) -> int:
    names = set()
    async with websockets.connect(
        f"ws://127.0.0.1:{port}", subprotocols=["foxglove.sdk.v1"]
    ) as socket:
        try:
            while True:
                message = await asyncio.wait_for(socket.recv(), 2)
                if isinstance(message, str) and json.loads(message).get("op") == "advertise":
                    names |= {one["topic"] for one in json.loads(message)["channels"]}
        except asyncio.TimeoutError:
            return len(names)


def start(context):
    channel = CompressedImageChannel("/image", context=context)
    server = foxglove.start_server(name="f", host="127.0.0.1", port=0, context=context)
    return channel, server


kept = foxglove.Context()
first = start(kept)
lost = start(foxglove.Context())
gc.collect()
counts = [asyncio.run(count_channels(server.port)) for _, server in (first, lost)]
print(f"advertised with the context: {counts[0]}, without: {counts[1]}")
sys.exit(counts != [1, 0])
EOF
