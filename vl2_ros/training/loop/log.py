"""The log of a run: rows of JSON, TensorBoard, and a plot of the curves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vl2_ros.documents import write_whole

LOG_FILE = "training_log.jsonl"
PLOT_FILE = "training_curves.png"
#: Folder of TensorBoard's files.
BOARD_FOLDER = "tensorboard"

Row = Mapping[str, float]


def read_log(folder: Path) -> list[dict[str, float]]:
    """Return the rows of a log; a line that an interrupted run did not finish is skipped."""
    path = folder / LOG_FILE
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


class TrainingLog:
    """Writes the rows of one run.

    Args:
        folder: of the run.
        step: steps that are done; rows of later ones, which a killed run has written, are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        """Open the files."""
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        kept = [row for row in read_log(folder) if row["step"] <= step]
        write_whole(folder / LOG_FILE, lambda path: _write_rows(path, kept))
        self._board = SummaryWriter(str(folder / BOARD_FOLDER), purge_step=step + 1)

    def write(self, row: Row) -> None:
        """Append one row, which has a `step`."""
        with (self._folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if name != "step":
                self._board.add_scalar(name, value, int(row["step"]))

    def plot(self) -> None:
        """Draw every number over the steps, one panel for each."""
        plot_curves(read_log(self._folder), self._folder / PLOT_FILE)

    def close(self) -> None:
        """Write what waits."""
        self._board.close()


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def plot_curves(rows: list[dict[str, float]], path: Path) -> None:
    """Draw the numbers of a log over its steps as PNG.

    Args:
        rows: each with a `step`; a number of the training and the held-out one share a panel.
        path: of the image.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = dict.fromkeys(name for row in rows for name in row if name not in ("step", "seconds"))
    panels: dict[str, list[str]] = {}
    for name in names:
        panels.setdefault(name.removeprefix("held_out/"), []).append(name)
    if not panels:
        return
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(4.5 * columns, 3.0 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    for index, (title, curves) in enumerate(panels.items()):
        axes: Any = figure.add_subplot(lines, columns, index + 1, title=title, xlabel="step")
        for name in curves:
            points = [(row["step"], row[name]) for row in rows if name in row]
            axes.plot(
                *zip(*points, strict=True), label=name, marker="." if len(points) < 40 else ""
            )
        if len(curves) > 1:
            axes.legend()
    write_whole(path, lambda part: figure.savefig(part, format="png", dpi=100))
