"""The commands on labs: `workbench lab init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from workbench.terminal import console, plain_table

app = typer.Typer(help="Teach with the labs that come with the workbench.", no_args_is_help=True)


@app.callback()
def _labs() -> None:
    """Keep `init` a command of its own while it is the only one."""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The course's folder, which must be new or empty.")],
) -> None:
    """Lay a course's folder: labs with solutions and for students, for nbgrader; slides, a leaderboard, a README."""
    from workbench.teach.course import lay

    found = lay(folder)
    table = plain_table("Labs")
    table.add_column("lab")
    table.add_column("")
    table.add_column("points", justify="right")
    for lab in found:
        table.add_row(lab.name, escape(lab.title), str(lab.points))
    console.print(table)
    console.print(f"Begin with {escape(str(folder / 'README.md'))}.", highlight=False, soft_wrap=True)
