"""Small pictures from a few words, as SVG in the page: layers in a row, or weights as cells.

A fenced block `picture` holds one row a line, `Name: part | part`. A part is a layer, drawn as a box with an arrow to
the next; or `[1 0 2; 0 3 0]`, weights by rows, of which zeros stay empty. Where nothing is built the words remain.
"""

from __future__ import annotations

import html
import re

FENCE = re.compile(r"^```picture\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAME_WIDTH, CELL, GAP, TALL = 96, 34, 30, 40


def with_pictures(text: str) -> str:
    """The Markdown text with its pictures drawn."""
    return FENCE.sub(lambda match: drawn(match[1].strip()), text)


def drawn(words: str) -> str:
    """One picture."""
    top, width, shapes = 4.0, 0.0, []
    for line in words.splitlines():
        name, _, parts = line.partition(":")
        row, right, height = _row([part.strip() for part in parts.split(" | ")], top)
        shapes += [_text(0, top + height / 2 + 4, name, "start"), *row]
        top, width = top + height + 16, max(width, right)
    said = html.escape(words.replace("\n", "; "), quote=True)
    return (
        f'<div class="picture"><svg role="img" aria-label="{said}" viewBox="0 0 {width:g} {top:g}" '
        f'style="max-width:{width:g}px;width:100%" font-size="12" fill="currentColor" stroke="none">'
        f"{''.join(shapes)}</svg></div>"
    )


def _row(parts: list[str], top: float) -> tuple[list[str], float, float]:
    """The shapes of a line, where they end on the right, and how high they are."""
    cells = [_cells(part) for part in parts]
    height = max([TALL, *(CELL * len(rows) for rows in cells)])
    left, shapes = float(NAME_WIDTH), []
    for place, (part, rows) in enumerate(zip(parts, cells, strict=True)):
        if place:
            shapes.append(_arrow(left, top + height / 2))
            left += GAP
        more, width = _grid(rows, left, top) if rows else _box(part, left, top + (height - TALL) / 2)
        shapes, left = shapes + more, left + width
    return shapes, left + 4, height


def _cells(part: str) -> list[list[str]]:
    return [row.split() for row in part[1:-1].split(";")] if part.startswith("[") else []


def _box(words: str, left: float, top: float) -> tuple[list[str], float]:
    width = 16 + 6.6 * len(words)
    frame = _rect(left, top, width, TALL, 0.12)
    return [frame, _text(left + width / 2, top + TALL / 2 + 4, words)], width


def _grid(rows: list[list[str]], left: float, top: float) -> tuple[list[str], float]:
    wide = max(CELL, 12 + 6.6 * max(len(value) for row in rows for value in row))
    shapes = []
    for down, row in enumerate(rows):
        for across, value in enumerate(row):
            x, y, empty = left + across * wide, top + down * CELL, value in {"0", "."}
            shapes.append(_rect(x, y, wide, CELL, 0 if empty else 0.18))
            shapes.append("" if value == "." else _text(x + wide / 2, y + CELL / 2 + 4, value))
    return shapes, wide * max(len(row) for row in rows)


def _rect(x: float, y: float, width: float, height: float, shade: float) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" fill-opacity="{shade:g}" '
        'stroke="currentColor" stroke-opacity=".6"/>'
    )


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{html.escape(words)}</text>'


def _arrow(x: float, y: float) -> str:
    return f'<path d="M{x + 4:g} {y:g}h{GAP - 12}m-5-4l5 4l-5 4" fill="none" stroke="currentColor"/>'
