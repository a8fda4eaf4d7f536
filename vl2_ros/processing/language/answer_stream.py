"""The words and routes of an answer while it grows; its begin is not read again with each token."""

from __future__ import annotations

from vl2_ros.processing.language.answer import ROUTES, join_words, tidy_words
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.structures import Route

#: Tokens before a place whose words do not depend on it; a character has at most a few tokens.
_CONTEXT = 16
#: Characters beyond which words that no later ones change are put aside.
_MOST_OPEN = 256
#: What decoders write for a character whose tokens are not all there yet.
_INCOMPLETE = "\ufffd"


class AnswerStream:
    """Gives, after each token, the text and the routes that `parse_answer` gives for all of them.

    Args:
        tokenizer: of the model.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._slots = frozenset(tokenizer.tokens.slots)
        self._routes: tuple[Route, ...] = ()
        # Tidy words that later ones do not change, then joined ones, then those of the run of ids
        # that no routing token has ended.
        self._settled = ""
        self._joined = ""
        self._words = ""
        # The last ids of the run, and what the first of them stand for, which is in the words.
        self._ids: list[int] = []
        self._context = ""

    @property
    def routes(self) -> tuple[Route, ...]:
        """The route of each routing token so far."""
        return self._routes

    @property
    def text(self) -> str:
        """The words so far, without routing, slot and bracket tokens."""
        return (self._settled + tidy_words(join_words(self._joined, self._read_run()))).strip()

    def add(self, token_id: int) -> None:
        """Append a token of the answer."""
        if token_id in self._slots:
            return
        token = self._tokenizer.tokens.routing.get(token_id)
        if token is None:
            self._ids.append(token_id)
            if len(self._ids) >= 2 * _CONTEXT:
                self._move_context()
            return
        self._routes += (ROUTES[token],)
        self._joined = join_words(self._joined, self._read_run())
        self._words, self._ids, self._context = "", [], ""
        if cut := _find_cut(self._joined):
            self._settled += tidy_words(self._joined[:cut])
            self._joined = self._joined[cut:]

    def _read_run(self) -> str:
        return self._words + self._decode(self._ids)[len(self._context) :]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, keep_special=True)

    def _move_context(self) -> None:
        """Take the words of all ids, and keep the last ids as what those to come follow on."""
        words = self._read_run()
        if words.endswith(_INCOMPLETE):
            return
        self._words = words
        self._ids = self._ids[-_CONTEXT:]
        self._context = self._decode(self._ids)
        if cut := _find_cut(self._words):
            self._settled += tidy_words(join_words(self._joined, self._words[:cut]))
            self._joined, self._words = "", self._words[cut:]


def _find_cut(words: str) -> int:
    """Return where words may be parted, between two of them; 0: nowhere, or they are few."""
    if len(words) <= _MOST_OPEN:
        return 0
    cut = words.rfind(" ")
    while cut > 0 and not (words[cut - 1].isalnum() and words[cut + 1 : cut + 2].isalnum()):
        cut = words.rfind(" ", 0, cut)
    return max(0, cut)
