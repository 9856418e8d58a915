"""Looks through built pages for dead links and for whatever would be fetched from elsewhere.

    python docs/site/check.py build/docs

Exit code 1 where there is one. Links to pages of others are not followed: there is no network here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

#: What a browser loads by itself, by the attribute that names it.
LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("object", "data")}


class Page(HTMLParser):
    """What a page refers to, and what in it can be referred to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag refers to; a canonical address is told to search engines alone."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        loads = [value for name, value in given.items() if (tag, name) in LOADED and given.get("rel") != "canonical"]
        self.loads += loads
        self.links += [*loads, *([given["href"]] if tag == "a" and "href" in given else [])]


def problems(folder: Path) -> Iterator[str]:
    """A sentence about each dead link, and about each thing that comes from elsewhere."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        where = path.relative_to(folder)
        yield from (f"{where}: loads {one}" for one in page.loads if "//" in one)
        yield from (f"{where}: dead link {one}" for one in page.links if _dead(one, path, pages))


def _dead(link: str, path: Path, pages: dict[Path, Page]) -> bool:
    if link.partition(":")[0] in {"http", "https", "mailto", "data"} or path.name == "404.html":
        return False
    target, _, anchor = unquote(link).partition("#")
    there = (path.parent / target.partition("?")[0]).resolve() if target else path
    there = there / "index.html" if there.is_dir() else there
    if not there.exists():
        return True
    return bool(anchor) and there in pages and anchor not in pages[there].anchors


def main() -> int:
    """Print what is wrong."""
    folder = Path(sys.argv[1]).resolve()
    found = list(problems(folder))
    print(*found, sep="\n", end="\n" * bool(found))
    print(f"{len(list(folder.rglob('*.html')))} pages, {len(found)} dead links or things from elsewhere")
    return bool(found) or not folder.exists()


if __name__ == "__main__":
    sys.exit(main())
