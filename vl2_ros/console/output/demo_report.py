"""What the demo leaves: a table of answers, an image of each, and a file of typed results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vl2_ros.console.display import describe_received, list_found, print_text
from vl2_ros.console.output.formats import name_frame, open_format
from vl2_ros.errors import VL2Error
from vl2_ros.processing.printable import make_printable
from vl2_ros.views.answer_files import AnswerFiles, save_images, save_overlay
from vl2_ros.views.formats.writer import FORMATS, Entry

if TYPE_CHECKING:
    from vl2_ros.clients.demo import DemoAnswer
    from vl2_ros.structures import Frame

#: The file of documents, one a line.
RESULTS = "results.jsonl"


#: Name of the weights that ship with the package.
EMBEDDED = "embedded"
#: Behind answers of the embedded model in plain words: counts, colours, lists, yes and no.
WEAK = "(weak)"
WEAK_WORDS = (
    f"{WEAK}: answers in plain words come from the language model alone, and those of the embedded "
    "weights are little better than chance; see docs/training.md"
)


class DemoReport:
    """Gathers answers, then prints them and writes `results.jsonl`.

    Args:
        recording: name of what the camera shows.
        out: folder of the images and results; made when it is not there.
        format_name: format of the results beside the JSON; empty: none.
        with_images: draw overlays.
    """

    def __init__(
        self, recording: str, out: Path, format_name: str = "", *, with_images: bool = True
    ) -> None:
        from rich.table import Table

        self._recording, self._out, self._format = recording, out, format_name
        self._with_images = with_images
        self._rows: list[dict[str, Any]] = []
        self._entries: list[Entry] = []
        self._drawn, self._refused = 0, 0
        self._first_frame: Frame | None = None
        self._has_weak = False
        self._table = Table(title=f"{recording}: a camera, a node, asked over DDS", show_lines=True)
        for heading in ("command", "answer", "found (score, box in pixels, mask)", "s"):
            self._table.add_column(heading, justify="right" if heading == "s" else "left")
        out.mkdir(parents=True, exist_ok=True)

    def add(self, answer: DemoAnswer) -> None:
        """Draw an answer into its image, write what it has made and keep its row.

        Raises:
            InputError: if the image cannot be written.
        """
        from vl2_ros.structures import Route

        received, result = answer.received, answer.received.result
        self._first_frame = self._first_frame or answer.frame
        overlay, number = None, f"{len(self._rows):02d}"
        if answer.frame is not None and self._with_images:
            overlay = self._out / f"{number}.png"
            save_overlay(answer.frame, answer.sentence, result, overlay)
            self._drawn += 1
        files = AnswerFiles(overlay, save_images(result, self._out / f"{number}_made.png"))
        row = describe_received(received, files, image=self._recording, seconds=answer.seconds)
        self._rows.append(row)
        if self._format:
            image_hw = None if answer.frame is None else answer.frame.frame_hw
            name = name_frame(Path(self._recording), result.stamp_ns)
            self._entries.append(Entry(name, image_hw, result, row))
        is_refused = received.status.name != "OK"
        self._refused += is_refused
        is_text = not is_refused and result.routes == (Route.ANSWER,)
        is_weak = is_text and received.model == EMBEDDED
        self._has_weak |= is_weak
        words = received.message if is_refused else f"{result.text}{f' {WEAK}' if is_weak else ''}"
        said = make_printable(words, keep_lines=True)
        sentence = make_printable(answer.sentence)
        self._table.add_row(sentence, said, list_found(result), f"{answer.seconds:.2f}")

    def leave_input(self, bag: Path) -> None:
        """Leave the recording and its first image beside the answers, to try other commands on."""
        from PIL import Image

        shutil.copyfile(bag, self._out / bag.name)
        if self._first_frame is not None:
            Image.fromarray(self._first_frame.rgb).save(self._out / "table.jpg", quality=95)

    def finish(self) -> None:
        """Print the table and where everything is.

        Raises:
            VL2Error: if a command was not answered.
        """
        results = self._out / RESULTS
        results.write_text("".join(json.dumps(row) + "\n" for row in self._rows), encoding="utf-8")
        if self._format:
            out = self._out / f"results{FORMATS[self._format]}"
            with open_format(self._format, out, with_masks=True) as writer:
                for entry in self._entries:
                    writer.add(entry)
        print_text(self._table)
        if self._rows:
            first = self._rows[0]
            print_text(f"answered by the model {first['model']} on {first['engine']}")
        if self._with_images:
            print_text(f"{self._drawn} overlay images: {self._out.resolve()}/*.png")
        print_text(f"typed results, masks included: {results.resolve()}")
        if self._has_weak:
            print_text(WEAK_WORDS)
        if self._refused:
            raise VL2Error(
                f"{self._refused} of {len(self._rows)} commands were not answered; the table and "
                f"{results.name} say why"
            )
