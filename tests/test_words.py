"""Words that nobody else uses for these things stay out of what users read first."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from tests.console.commands import COMMANDS, ROOT

REPOSITORY = Path(__file__).resolve().parent.parent
#: The ten worst, in all their forms.
WORST = re.compile(
    r"\b(pictures?|what computes|tell(s|ing)?|told|tak(e|es|en) as given|hand(s|ed|ing)? in"
    r"|whoever|somebody|wish(es|ed)?|left out)\b",
    flags=re.IGNORECASE,
)
INTERFACES = sorted(
    path for kind in ("msg", "srv", "action") for path in REPOSITORY.glob(f"{kind}/*.{kind}")
)
PAGES = [REPOSITORY / "docs" / "cli.md", REPOSITORY / "launch" / "perception.yaml"]


def find_worst(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if WORST.search(line)]


def read_help(command) -> str:
    """Return every text that the help of a command shows, before it is broken into lines."""
    texts = [command.help or ""]
    for one in command.params:
        panel = getattr(one, "rich_help_panel", None)
        texts += [*one.opts, getattr(one, "help", None) or "", one.metavar or "", panel or ""]
    return "\n".join(inspect.cleandoc(text) for text in texts)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_have_none_of_the_worst_words(path):
    assert find_worst(path.read_text()) == []


@pytest.mark.parametrize("name", [*COMMANDS, "vl2", "vl2 eval", "vl2 engines"])
def test_help_has_none_of_the_worst_words(name):
    groups = {"vl2": ROOT} | {f"vl2 {one}": it for one, it in ROOT.commands.items()}
    text = read_help(COMMANDS[name] if name in COMMANDS else groups[name])
    assert text.strip()
    assert find_worst(text) == []


def test_the_worst_words_are_found():
    lines = ["Whoever asked.", "it tells how", "Left out: none", "a picture of", "handed in"]
    assert find_worst("\n".join([*lines, "a stellar image", "the default"])) == lines
