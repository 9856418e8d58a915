"""The parts of pages that are made while they are built, from what the package says of itself.

A page marks the place: `<!-- settings: Tucker -->`, `<!-- figures: Tucker -->`, `<!-- techniques -->`,
`<!-- families: Tucker -->`, `<!-- trained -->`, `<!-- commands -->`, `<!-- glossary -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pages import DOCS, source_of
from pictures import with_pictures

from workbench import glossary
from workbench.settings import Setting
from workbench.steps import REGISTRY

MARKER = re.compile(r"^<!-- (\w+)(?:: (\w+))? -->$", re.MULTILINE)
FIGURES = DOCS / "techniques" / "figures.md"
#: The headings of techniques in the menu, in its order.
FAMILIES = ("low-rank", "pruning", "precision", "recovery", "rewrite", "storage")


def filled(text: str, page: str) -> str:
    """The text with its markers replaced and its pictures drawn."""

    def part(match: re.Match[str]) -> str:
        return PARTS[match[1]](match[2] or page) if match[1] in PARTS else match[0]

    return with_pictures(MARKER.sub(part, text))


def settings(name: str) -> str:
    """A technique's settings as a table."""
    found = REGISTRY[name].settings()
    if not found:
        return "It has no settings."
    head = "| setting | default | values | unit | what it is |\n| --- | --- | --- | --- | --- |\n"
    return head + "\n".join(_row(one) for one in found)


def _row(one: Setting) -> str:
    cells = (f"`{one.name}`", f"`{one.default!r}`", values(one), one.unit or "–", one.help.replace("|", "\\|"))
    return f"| {' | '.join(cells)} |"


def values(one: Setting) -> str:
    """What a setting takes, in words."""
    if one.kind == "choice":
        return ", ".join(f"`{choice!r}`" for choice in one.choices)
    if one.kind == "flag":
        return "`True`, `False`"
    if one.kind in {"layers", "text"}:
        return "a name, a glob, or a list"
    span = f"{one.low:,g} to {one.high:,g}"
    kinds = {"rank": f"a share from {span}, a number, a rule or a budget", "integer": f"whole, {span}"}
    return kinds.get(one.kind, span)


def techniques(_: str) -> str:
    """Every technique with what it does, by family."""
    rows = sorted(REGISTRY.items(), key=lambda item: (FAMILIES.index(item[1].family), item[1].title))
    lines = (f"| [`{name}`]({page_of_step(name)}) | {one.family} | {one.summary} |" for name, one in rows)
    return "| technique | family | what it does |\n| --- | --- | --- |\n" + "\n".join(lines)


def page_of_step(name: str) -> str:
    """A technique's page, beside the others."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower() + ".md"


def figures(name: str) -> str:
    """The rows that `benchmarks/techniques.py` printed for a technique, those of the originals before them.

    Where there are none yet, how to make them.
    """
    lines = [line for line in FIGURES.read_text("utf-8").splitlines() if line.startswith("|")]
    own = [line for line in lines if re.split(r"[|,]", line)[1].strip() == name]
    if not own:
        command = f"python benchmarks/techniques.py --only {name}"
        return f"Not measured on the three networks yet: `{command}` prints the rows."
    networks = {line.split("|")[2] for line in own}
    before = [line for line in lines if line.split("|")[1].strip() == "original" and line.split("|")[2] in networks]
    return "\n".join(_shortened([*lines[:2], *before, *own]))


def _shortened(lines: list[str]) -> Iterator[str]:
    """Rows without the name of the technique, which the page has; where it fails is said behind the network."""
    for line in lines:
        first, rest = line.removeprefix("| ").split(" | ", 1) if not line.startswith("| ---") else ("", line[6:])
        network, _, more = rest.removeprefix("| ").partition(" | ")
        yield f"| {network}{', **where it fails**' if 'fails' in first else ''} | {more}"


def families(name: str) -> str:
    """The rows of a factorization in the table of families among the benchmarks."""
    return "\n".join(_benchmark("Factorization", "| family |", name))


def trained(_: str) -> str:
    """The rows of fine-tuning among the benchmarks, each with the accuracy before and after."""
    return "\n".join(_benchmark("Pruning, recovery and storage", "| network |", "fashion"))


def _benchmark(section: str, head: str, start: str) -> list[str]:
    """The first table with this head in a section of the benchmarks: its head, and the rows that start so."""
    text = source_of("figures.md").read_text("utf-8").partition(f"\n## {section}\n")[2]
    lines = (head + text.partition(head)[2]).splitlines()
    table = lines[: next(place for place, line in enumerate(lines) if not line.startswith("|"))]
    rows = [line for line in table[2:] if re.match(rf"\| {start}\b", line)]
    if not rows:
        raise ValueError(f"benchmarks/README.md: {section} has no row of {start}")
    return [*table[:2], *rows]


def commands(_: str) -> str:
    """Every command with its options, as the command line prints them."""
    import typer.cli
    import typer.main

    from workbench.cli import app

    group = typer.main.get_command(app)
    with typer.Context(group) as context:
        text: str = typer.cli.get_docs_for_click(obj=group, ctx=context, name="workbench")
    return re.sub(r"^# `workbench`\n", "", text, count=1)


def terms(_: str) -> str:
    """Every term with its explanation, in the order of the alphabet."""
    found = sorted(glossary.TERMS.values(), key=lambda term: term.name.lower())
    return "\n\n".join(f'<span id="{term.key}"></span>**{term.name}**: {term.text}' for term in found)


PARTS: dict[str, Callable[[str], str]] = {
    "settings": settings,
    "techniques": techniques,
    "figures": figures,
    "families": families,
    "trained": trained,
    "commands": commands,
    "glossary": terms,
}
