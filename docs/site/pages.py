"""Which file of the repository becomes which page, and where the links between them lead.

Most pages lie in `docs/`. Others are made of what has its place elsewhere and is not copied: the README, notebooks,
the cards of networks. Their links are written for readers of the repository and are turned here into links between
pages; a link to a file that is no page, such as a folder of the sources, keeps its words alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CARDS, LABS = "workbench/models/cards", "notebooks/labs"

#: Pages made of files elsewhere: the page's path under `docs/`, and the file's in the repository.
ELSEWHERE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "reporting.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
    "fragments.md": "changelog.d/README.md",
    "figures.md": "benchmarks/README.md",
    **{f"networks/{one.name}": f"{CARDS}/{one.name}" for one in (ROOT / CARDS).glob("*.md")},
    **{f"notebooks/{one.stem}.md": f"notebooks/{one.name}" for one in ROOT.glob("notebooks/[0-9]*.ipynb")},
    **{f"labs/{one.stem}.md": f"{LABS}/{one.name}" for one in (ROOT / LABS).glob("*.ipynb")},
}
#: Folders and files that a link may name, and the page that stands for them.
FOLDERS = {LABS: "labs/index.md", CARDS: "networks/index.md", "workbench/glossary.toml": "glossary.md"}
#: Code, which is left alone; or a link or a picture, whose words may hold code and pictures.
CODE = r"```.*?```|~~~.*?~~~|``[^`]*``|`[^`\n]*`"
LINK = re.compile(
    rf"(?:{CODE})|(?P<picture>!?)\[(?P<words>(?:[^\[\]]|\[[^\[\]]*\]\([^()]*\))*)\]\((?P<target>[^()\s]+)(?:\s+\"[^\"]*\")?\)",
    re.DOTALL,
)
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)


def source_of(page: str) -> Path:
    """The file that a page is made of."""
    return ROOT / ELSEWHERE[page] if page in ELSEWHERE else DOCS / page


def page_of(file: str) -> str | None:
    """The page or the picture under `docs/` that shows a file of the repository; None where there is none."""
    shown = FOLDERS | {source: page for page, source in ELSEWHERE.items()}
    return shown.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)


def nav() -> list[str]:
    """The pages that the navigation lists, in order."""
    return list(_leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))


def _leaves(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for part in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else []:
        yield from _leaves(part)


def links(text: str) -> Iterator[str]:
    """The targets of a Markdown text's links and pictures, code left out."""
    for match in LINK.finditer(text):
        if match["target"]:
            yield match["target"]
            yield from links(match["words"])


def anchors(text: str) -> set[str]:
    """What a link to a heading of a Markdown text may end in."""
    return {slug(heading) for heading in HEADING.findall(re.sub(r"(?ms)^```.*?^```", "", text))}


def slug(heading: str) -> str:
    """A heading as Python-Markdown and code hosts name it in an address."""
    words = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", words).strip().lower())


def outside(target: str) -> bool:
    """Whether a link leads out of the repository."""
    return re.match(r"[a-z]+:", target) is not None


def relinked(text: str, page: str) -> str:
    """The text of a page's source with links from page to page."""

    def link(match: re.Match[str]) -> str:
        if not match["target"]:
            return match[0]
        words, target = relinked(match["words"], page), moved(match["target"], page)
        return words if target is None else f"{match['picture']}[{words}]({target})"

    return LINK.sub(link, text)


def moved(target: str, page: str) -> str | None:
    """Where a link in a page's source leads from the page; None where no page shows what it names."""
    path, _, anchor = target.partition("#")
    if outside(target) or not path:
        return target
    there = page_of(os.path.relpath((source_of(page).parent / path).resolve(), ROOT))
    return there and os.path.relpath(there, Path(page).parent) + "#" * bool(anchor) + anchor
