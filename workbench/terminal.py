"""What the commands print with: one console, tables in one style, numbers in one form."""

from __future__ import annotations

import math
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Into a pipe there is no width to fit: nothing may be cut off.
console = Console(width=None if sys.stdout.isatty() else 160)


def plain_table(title: str) -> Table:
    """A table without rows and columns."""
    return Table(title=escape(title), title_justify="left", title_style="bold", header_style="")


def frame_table(title: str, frame: Any) -> Table:
    """The rows and columns of a frame."""
    from pandas.api.types import is_numeric_dtype

    table = plain_table(title)
    for column in frame.columns:
        table.add_column(column, justify="right" if is_numeric_dtype(frame[column]) else "left")
    for row in frame.itertuples(index=False):
        table.add_row(*(number(value) if isinstance(value, (int, float)) else escape(str(value)) for value in row))
    return table


def number(value: float) -> str:
    """A number as tables show it: whole ones in full, others to four digits."""
    if math.isnan(value):
        return "unknown"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"
