#!/bin/sh
# cv2.undistortPoints stops after five steps, converged or not, and gives no sign of it.
#
# Seen with opencv-python-headless 5.0.0.93 and numpy 2.2.6: the calibration that KITTI publishes
# for its colour camera (raw data, 2011_09_26, camera 2). The upper left pixel is undistorted and
# projected again through the same lens: it comes back 1.8 pixels away, that of a 94 degree lens
# 23 pixels away. With criteria of 500 steps both come back to less than a millionth of a pixel.
# The default is in the signature of the documentation, TermCriteria(MAX_ITER, 5, 0.01); what it
# costs near the border of common lenses is not. Who needs rays passes criteria, or checks that
# they come back.
#
# Needs python3 with venv, and a network. Exit 0: still so; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import cv2
import numpy as np

LENSES = {
    "KITTI 2011_09_26 camera 2": (
        (959.791, 956.9251, 696.0217, 224.1806),
        [-0.3691481, 0.1968681, 0.001353473, 0.0005677587, -0.06770705],
    ),
    "94 degrees wide": ((300.0, 300.0, 320.0, 240.0), [-0.35, 0.12, 0.001, 0.001, -0.01]),
}
EXACT = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 500, 1e-12)


def come_back(k, d, *criteria):
    pixel = np.zeros((1, 1, 2))
    ray = cv2.undistortPoints(pixel, k, d, None, None, None, *criteria).reshape(2)
    point = np.append(ray, 1.0).reshape(1, 1, 3)
    seen = cv2.projectPoints(point, np.zeros(3), np.zeros(3), k, d)[0]
    return float(np.abs(seen).max())


print(f"opencv {cv2.__version__}")
is_so = True
for name, ((fx, fy, cx, cy), d) in LENSES.items():
    k, d = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), np.array(d)
    default, exact = come_back(k, d), come_back(k, d, EXACT)
    print(f"{name}: the first pixel comes back {default:.2f} px away, after 500 steps {exact:.0e} px")
    is_so &= default > 1 and exact < 1e-6
sys.exit(not is_so)
PYTHON
