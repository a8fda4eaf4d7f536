#!/bin/sh
# PyAV 18.1.0: av.open(path, "w") of a file in a folder that is not there succeeds, and so do adding a
# stream and encoding; the file is opened when the first packet is muxed, which then raises
# FileNotFoundError. A program that checks its output by opening it finds out after its work.
#
# Seen: "opened: True, first error at: mux". Exit code 1 when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/none/clip.mp4" <<'EOF'
import sys

import av
import numpy as np

at = "open"
try:
    container = av.open(sys.argv[1], "w")
    at = "encode"
    stream = container.add_stream("libx264", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
    packets = [*stream.encode(frame), *stream.encode()]
    at = "mux"
    container.mux(packets)
    at = "nowhere"
except FileNotFoundError:
    pass
print(f"opened: {at != 'open'}, first error at: {at}")
sys.exit(at != "mux")
EOF
