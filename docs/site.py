"""Hooks of mkdocs: the pages at the root of the repository become pages of the site.

README is its first page. A link from a page in docs/ to one at the root, and back, is rewritten to
where both are in the site; a link to a file that is no page becomes its name.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
#: Page of the site -> file of the repository; every other page lies in docs/.
BROUGHT = {
    "index.md": "README.md",
    "ARCHITECTURE.md": "ARCHITECTURE.md",
    "SECURITY.md": "SECURITY.md",
    "engines/README.md": "engines/README.md",
    "benchmarks/README.md": "benchmarks/README.md",
}
_PAGES = {source: page for page, source in BROUGHT.items()}


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the pages of the root."""
    for page, source in BROUGHT.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Rewrite the links of a page that are relative to its place in the repository."""
    here = page.file.src_uri
    source = BROUGHT.get(here, f"docs/{here}")

    def rewrite(found: re.Match[str]) -> str:
        mark, text, target, anchor = found.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = _PAGES.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(place) is None:
            return text  # a file of the repository, or a folder, that is no page
        return f"{mark}[{text}]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"

    return re.sub(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*|)\)", rewrite, markdown)
