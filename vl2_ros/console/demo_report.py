"""What the demo leaves: a table of answers, an image of each, and a file of typed results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vl2_ros.console.display import describe_answer, list_found, print_text
from vl2_ros.errors import VL2Error
from vl2_ros.processing.printable import make_printable
from vl2_ros.views.answer_files import AnswerFiles, save_images, save_overlay

if TYPE_CHECKING:
    from vl2_ros.clients.demo import DemoAnswer


class DemoReport:
    """Gathers answers, then prints them and writes `results.jsonl`.

    Args:
        recording: name of what the camera shows.
        out: folder of the images and results; made when it is not there.
    """

    def __init__(self, recording: str, out: Path) -> None:
        from rich.table import Table

        self._recording, self._out = recording, out
        self._rows: list[dict[str, Any]] = []
        self._drawn, self._refused = 0, 0
        self._table = Table(title=f"{recording}: a camera, a node, asked over DDS", show_lines=True)
        for heading in ("command", "answer", "found (score, box in pixels, mask)", "s"):
            self._table.add_column(heading, justify="right" if heading == "s" else "left")
        out.mkdir(parents=True, exist_ok=True)

    def add(self, answer: DemoAnswer) -> None:
        """Draw an answer into its image, write what it has made and keep its row.

        Raises:
            InputError: if the image cannot be written.
        """
        received, result = answer.received, answer.received.result
        overlay, number = None, f"{len(self._rows):02d}"
        if answer.frame is not None:
            overlay = self._out / f"{number}.png"
            save_overlay(answer.frame, answer.sentence, result, overlay)
            self._drawn += 1
        files = AnswerFiles(overlay, save_images(result, self._out / f"{number}_made.png"))
        row = describe_answer(
            self._recording, answer.sentence, result, answer.seconds, files, with_masks=True
        )
        status = {"status": received.status.name, "message": received.message}
        engine = {"model": received.model, "engine": received.engine}
        self._rows.append({**row, **status, **engine})
        if received.message:
            self._refused += 1
        said = make_printable(received.message or result.text, keep_lines=True)
        sentence = make_printable(answer.sentence)
        self._table.add_row(sentence, said, list_found(result), f"{answer.seconds:.2f}")

    def finish(self) -> None:
        """Print the table and where everything is.

        Raises:
            VL2Error: if a command was not answered.
        """
        results = self._out / "results.jsonl"
        results.write_text("".join(json.dumps(row) + "\n" for row in self._rows), encoding="utf-8")
        print_text(self._table)
        if self._rows:
            first = self._rows[0]
            print_text(f"answered by the model {first['model']} on {first['engine']}")
        print_text(f"{self._drawn} overlay images: {self._out.resolve()}/*.png")
        print_text(f"typed results, masks included: {results.resolve()}")
        if self._refused:
            raise VL2Error(
                f"{self._refused} of {len(self._rows)} commands were not answered; the table and "
                f"{results.name} say why"
            )
