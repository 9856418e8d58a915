"""Formulas as MathML, which browsers draw by themselves: no script and no font is fetched."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

#: What pymdownx.arithmatex leaves in a page: `\\(...\\)` within a line, `\\[...\\]` on lines of its own.
FORMULA = re.compile(r"<(span|div) class=\"arithmatex\">\\([(\[])(.*?)\\[)\]]</\1>", re.DOTALL)


def with_mathml(content: str) -> str:
    """A page's HTML with its formulas drawn."""
    return FORMULA.sub(lambda match: _drawn(match[3], match[2] == "["), content)


def _drawn(latex: str, alone: bool) -> str:
    drawn: str = convert(html.unescape(latex).strip(), display="block" if alone else "inline")
    return f'<div class="formula">{drawn}</div>' if alone else drawn
