from __future__ import annotations

import pytest

from vl2_ros.datasets.sentence_files import SENTENCES_FOLDER, read_sentences
from vl2_ros.errors import ConfigError

LAYOUTS = {
    "openers": ("{v} {g}",),
    "verbs": ("{x}", "{x}"),
    "sentences": ("{x}", frozenset(("one", "all"))),
}
GOOD = """\
# How people begin.

[openers]
please {v}
please {v}
" and "
[verbs]
find {x} | finding {x}
# Between entries.
[sentences]
where is {x}? | one
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "words.txt"
        path.write_text(text, encoding="utf-8")
        return read_sentences(path, LAYOUTS)

    return read_text


def test_entries_keep_their_order_repeats_and_quoted_blanks(read):
    sections = read(GOOD)
    assert sections["openers"].lines == ("please {v}", "please {v}", " and ")
    assert sections["verbs"].pairs == (("find {x}", "finding {x}"),)
    assert sections["sentences"].rows == (("where is {x}?", "one"),)


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("[openers]\n", "", 3, r"expected a header of \[openers\], .* before 'please \{v\}'"),
        ("[verbs]", "[verb]", 7, r"expected a header of .*, got '\[verb\]'"),
        ("[verbs]", "[verbs", 7, r"expected a header"),
        ("[verbs]", "[openers]", 7, r"\[openers\] stands there twice"),
        ("find {x} | finding {x}", "find {x}", 8, r"2 column\(s\) .* got 1 in 'find \{x\}'"),
        ("please {v}", "please | {v}", 4, r"1 column\(s\) .* got 2"),
        ("find {x}", '" "', 8, "a column is empty"),
        ("find {x}", "find {y}", 8, r"expected no placeholder but \{x\}, got 'find \{y\}'"),
        ("finding {x}", "finding {x", 8, r"got 'finding \{x'"),
        ("? | one", "? | two", 11, "expected one of all, one, got 'two'"),
        ('" and "', '" and', 6, "expected a closing double quote"),
    ],
)
def test_a_malformed_line_is_refused_with_file_and_line(read, old, new, line, reason):
    assert old in GOOD
    with pytest.raises(ConfigError, match=rf"words.txt, line {line}: .*{reason}"):
        read(GOOD.replace(old, new, 1))


def test_a_section_without_entries_is_refused_by_name(read):
    with pytest.raises(ConfigError, match=r"words.txt has no entry under \[openers\], \[sentences"):
        read("[openers]\n[verbs]\nfind | finding\n")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_sentences(tmp_path / "none.txt", LAYOUTS)


def test_only_sentence_files_lie_among_the_sources():
    assert {path.suffix for path in SENTENCES_FOLDER.iterdir()} == {".txt"}
