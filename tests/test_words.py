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
#: What users read: pages, wire types, launch files. docs/spec quotes the reference and is not here.
PAGES = sorted(
    path
    for pattern in (
        *("*.md", "docs/*.md", "engines/*.md", "benchmarks/*.md"),
        *("msg/*.msg", "srv/*.srv", "action/*.action", "launch/*.py", "launch/*.yaml"),
    )
    for path in REPOSITORY.glob(pattern)
)
#: Lines that may say "picture": sentences of users and prompts of training.
MOST_PICTURES = 20


def find_worst(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if WORST.search(line)]


def find_lines(path: Path, pattern: re.Pattern[str]) -> list[str]:
    """List the lines of a file that match, as `file:line: text`."""
    return [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]


def read_help(command) -> str:
    """Return every text that the help of a command shows, before it is broken into lines."""
    texts = [command.help or ""]
    for one in command.params:
        panel = getattr(one, "rich_help_panel", None)
        texts += [*one.opts, getattr(one, "help", None) or "", one.metavar or "", panel or ""]
    return "\n".join(inspect.cleandoc(text) for text in texts)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_pages_have_none_of_the_worst_words(path):
    assert find_lines(path, WORST) == []


def test_pages_of_every_kind_are_read():
    kinds = {(path.parent.name, path.suffix) for path in PAGES}
    wire = {("msg", ".msg"), ("srv", ".srv"), ("action", ".action")}
    assert kinds > wire | {("docs", ".md"), ("launch", ".py"), ("launch", ".yaml")}
    assert REPOSITORY / "README.md" in PAGES


def test_an_image_is_hardly_ever_a_picture():
    modules = {*REPOSITORY.glob("vl2_ros/**/*.py")} - {*REPOSITORY.glob("vl2_ros/datasets/**/*")}
    pages = {*PAGES, *REPOSITORY.glob("docs/spec/*.md")}
    pattern = re.compile("picture", flags=re.IGNORECASE)
    found = [line for path in sorted(modules | pages) for line in find_lines(path, pattern)]
    assert len(found) <= MOST_PICTURES, "\n".join(found)


@pytest.mark.parametrize("name", [*COMMANDS, "vl2", "vl2 data", "vl2 eval", "vl2 engines"])
def test_help_has_none_of_the_worst_words(name):
    groups = {"vl2": ROOT} | {f"vl2 {one}": it for one, it in ROOT.commands.items()}
    text = read_help(COMMANDS[name] if name in COMMANDS else groups[name])
    assert text.strip()
    assert find_worst(text) == []


def test_the_worst_words_are_found():
    lines = ["Whoever asked.", "it tells how", "Left out: none", "a picture of", "handed in"]
    assert find_worst("\n".join([*lines, "a stellar image", "the default"])) == lines
