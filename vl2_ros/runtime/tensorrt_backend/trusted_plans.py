"""The list of TensorRT plans that this user trusts: sha256, one a line.

A plan is code: the library runs what is in it without checks. Its hash in `engines.json` shows only
that both came together. So plans that were built here are listed when they are built, and plans
from elsewhere by `vl2 engines trust`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from vl2_ros.documents import read_text, shorten
from vl2_ros.errors import EngineError

_SHA256 = re.compile(r"[0-9a-f]{64}")


def find_trust_file() -> Path:
    """Return the user's list: `$XDG_CONFIG_HOME` or `~/.config`, then `vl2_ros/trusted_plans`."""
    named = os.environ.get("XDG_CONFIG_HOME")
    return (Path(named) if named else Path.home() / ".config") / "vl2_ros" / "trusted_plans"


class TrustedPlans:
    """The user's list, and the additions of a profile."""

    def __init__(self, path: Path | None = None, further: Iterable[str] = ()) -> None:
        """Store the path of the list; it is read anew at every check.

        Args:
            path: of the list; None: the user's.
            further: sha256 to trust as well, such as those of a profile.
        """
        self.path = find_trust_file() if path is None else path
        self._further = frozenset(further)

    def __contains__(self, sha256: str) -> bool:
        """Return whether the plan with this hash may be loaded."""
        return sha256 in self._further or sha256 in self._read()

    def require(self, sha256: str, path: Path) -> None:
        """Refuse a plan that is not trusted.

        Raises:
            EngineError: with the next step.
        """
        if sha256 not in self:
            raise EngineError(
                f"{path} was not built by this user on this machine, and a plan can run any code: "
                "build it here with `vl2 engines build`, or, if you know where it comes from, "
                f"`vl2 engines trust {sha256}`"
            )

    def add(self, sha256: str, note: str = "") -> bool:
        """Put a plan on the user's list.

        Args:
            sha256: 64 hexadecimal digits.
            note: why, for readers of the list.

        Returns:
            False if it was there already.

        Raises:
            EngineError: if that is no sha256, or the list cannot be written.
        """
        sha256 = sha256.lower()
        if not _SHA256.fullmatch(sha256):
            raise EngineError(
                f"expected the sha256 of a plan, 64 hexadecimal digits, got {shorten(sha256)}; "
                "`vl2 engines list` shows it"
            )
        if sha256 in self._read():
            return False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{sha256}  {' '.join(note.split())}".rstrip() + "\n")
        except OSError as error:
            raise EngineError(
                f"cannot write the list of trusted plans {self.path}: {error.strerror}; make it "
                "writable, or set XDG_CONFIG_HOME to a folder that is"
            ) from error
        return True

    def _read(self) -> set[str]:
        if not os.path.lexists(self.path):
            return set()
        try:
            lines = read_text(self.path, EngineError).splitlines()
        except EngineError as error:
            raise EngineError(
                f"cannot read the list of trusted plans: {error}; make it a readable text, or "
                "delete it and trust the plans anew"
            ) from error
        return {line.split()[0] for line in lines if line.split()}
