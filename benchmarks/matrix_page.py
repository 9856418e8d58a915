"""What became of the cells of `matrix.py`, and the page that shows them."""

from __future__ import annotations

import collections
import re
from dataclasses import dataclass

#: It works; nothing to do; refused with a sentence; raised something else; gives something wrong; took too long.
WORKS, IDLE, REFUSED, CRASH, WRONG, SLOW = "works", "idle", "refused", "CRASH", "WRONG", "SLOW"
MARKS = {WORKS: "✓", IDLE: "·", REFUSED: "r", CRASH: "C", WRONG: "W", SLOW: "S"}
TITLES = {
    WORKS: "Works", IDLE: "Nothing to do, and why", REFUSED: "Refused, and why", CRASH: "Raised", WRONG: "Wrong",
    SLOW: "Too slow",
}  # fmt: skip
#: How far outputs may be off at full rank.
EXACT = 1e-4
#: Between the reasons of one cell.
JOINT = " | "
#: Reasons that are limits of ours: a layer is there that the technique is meant for. Others say that there is none, or
#: that nothing would be saved.
LIMITS = (
    "on inputs of different shapes", "recurrent layers", "more than once", "not followed", "sizes that stay",
    "two chains", "splits two", "shares its weight", "it is used", "shifted along two",
)  # fmt: skip
#: Numbers and names of one layer in a reason.
OWN = re.compile(r"'[^']*'|(?<=kernel is )[\dx]+|(?<![\dx.])\d+(\.\d+)?(, \d+)*(?![\dx])")


@dataclass(frozen=True)
class Cell:
    """What became of one step on one network."""

    network: str
    step: str
    outcome: str
    why: str = ""
    seconds: float = 0.0
    off: float = 0.0  # from the original at full rank, and from the module otherwise


def rows(cells: list[Cell], steps: list[str]) -> list[str]:
    """One row a network."""
    by = {(one.network, one.step): one for one in cells}
    lines = ["| network | " + " | ".join(steps) + " |", "| --- " * (len(steps) + 1) + "|"]
    for network in dict.fromkeys(one.network for one in cells):
        found = [by.get((network, step)) for step in steps]
        lines.append(f"| {network} | " + " | ".join(MARKS[one.outcome] if one else " " for one in found) + " |")
    return lines


def counts(cells: list[Cell]) -> list[str]:
    """How many cells had each outcome, what share of those that could apply work, and how far full rank is off."""
    count = collections.Counter(one.outcome for one in cells)
    found = ", ".join(f"{count[kind]} {kind} ({count[kind] / len(cells):.1%})" for kind in MARKS if count[kind])
    limited = sum(could(one) for one in cells if one.outcome == IDLE)
    asked = len(cells) - count[IDLE] - count[REFUSED] + limited
    return [
        f"{len({one.network for one in cells})} networks, {len(cells)} cells: {found}.",
        f"Of the {asked} cells that could apply {count[WORKS] / max(asked, 1):.1%} work; in {limited} a layer that the "
        "technique is meant for is left alone for a limit of ours.",
        *full_rank([one for one in cells if one.step.endswith("full") and one.outcome in {WORKS, WRONG}]),
    ]


def full_rank(cells: list[Cell]) -> list[str]:
    """How many factorizations at full rank are exact, and the worst."""
    if not cells:
        return []
    exact, worst = sum(one.off <= EXACT for one in cells), max(cells, key=lambda one: one.off)
    where = f"{worst.network}, {worst.step}"
    return [
        f"At full rank {exact} of {len(cells)} are exact to {EXACT:.0e}; the worst is off by {worst.off:.1e} ({where})."
    ]


def could(one: Cell) -> bool:
    """Whether a technique that did nothing had something to do."""
    return any(text in one.why for text in LIMITS)


def said(cells: list[Cell]) -> list[str]:
    """The reasons of all outcomes but the good one, with the techniques, and where."""
    lines: list[str] = []
    for kind in (CRASH, WRONG, SLOW, REFUSED, IDLE):
        found: dict[str, list[Cell]] = collections.defaultdict(list)
        for one in cells:
            for text in one.why.split(JOINT) if one.outcome == kind else ():
                found[OWN.sub("…", text)].append(one)
        if found:
            lines += ["", f"## {TITLES[kind]}", "", "| why | techniques | networks |", "| --- | --- | --- |"]
        lines += [_reason(why, found[why]) for why in sorted(found, key=lambda why: (-len(found[why]), why))]
    return lines


def _reason(why: str, cells: list[Cell]) -> str:
    where, steps = list(dict.fromkeys(one.network for one in cells)), dict.fromkeys(one.step for one in cells)
    more = f" and {len(where) - 3} more" if len(where) > 3 else ""
    return f"| {why} | {', '.join(steps)} | {', '.join(where[:3])}{more} |"


def page(cells: list[Cell], steps: list[str], words: list[str]) -> str:
    """The published page: what it shows, the figures, the table with numbers for techniques, the reasons."""
    lines = ["# Every technique on every kind of network", "", "Made by `benchmarks/matrix.py`, in whose words:", ""]
    lines += [f"{text.strip()}\n" for text in words] + [f"- {one}" for one in counts(cells)]
    seen = [kind for kind in MARKS if any(one.outcome == kind for one in cells)]
    lines += ["", "; ".join(f"{MARKS[kind]} {TITLES[kind].lower()}" for kind in seen) + "; empty: not tried."]
    lines += ["", "## The techniques", "", "; ".join(f"**{at}** {step}" for at, step in enumerate(steps, 1)) + "."]
    short = {step: str(at) for at, step in enumerate(steps, 1)}
    numbered = [Cell(one.network, short[one.step], one.outcome) for one in cells]
    lines += ["", "## The networks", "", *rows(numbered, list(short.values())), *said(cells)]
    return "\n".join(lines) + "\n"
