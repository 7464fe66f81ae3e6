"""Makes the site's pages of ours: README.md is the first one, and links to code become its path.

On the site there is no code to link to, and README.md lies outside of docs/.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the page for the site; called by mkdocs."""
    source = page.file.src_uri
    folder = "docs/" + posixpath.dirname(source)
    if source == "index.md":
        markdown, folder = (ROOT / "README.md").read_text(), ""
    if source.startswith("api/"):
        return markdown

    def linked(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        if "://" in target:
            return match[0]
        place = posixpath.normpath(posixpath.join(folder, target))
        if place == "README.md":
            place = "docs/index.md"
        if not place.startswith("docs/"):
            return text if text == place else f"{text} (`{place}`)"
        here = posixpath.relpath(place.removeprefix("docs/"), posixpath.dirname(source) or ".")
        return f"{image}[{text}]({here}{anchor or ''})"

    return _LINK.sub(linked, markdown)
