"""`workbench doctor`: what works here, what is missing for which feature, and whether this machine is quiet enough."""

from __future__ import annotations

import platform
from typing import Annotated

import typer
from rich.markup import escape

from workbench.doctor.parts import Part, compiler, parts
from workbench.terminal import console, plain_table


def doctor(
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Time a network against its own copy, about 20 seconds.")
    ] = True,
) -> None:
    """Say what is installed, what is missing for which feature and how to get it, and whether speed can be measured."""
    from workbench import __version__
    from workbench.measure.machine import machine

    found = parts()
    console.print(f"workbench {__version__}, Python {platform.python_version()}", highlight=False)
    console.print(escape(str(machine())), highlight=False)
    table = plain_table("Features")
    for head in ("", "for", "with"):
        table.add_column(head)
    for part in found:
        table.add_row(part.extra or "base", escape(part.feature), escape(_with(part)))
    table.add_row("C compiler", "exports in C, compiled and compared", escape(compiler() or "missing"))
    console.print(table)
    remedies = [part for part in found if part.missing]
    if remedies:
        console.print("What is missing, and how to get it:")
        for part in remedies:
            console.print(f"  {part.extra or 'base'}: {part.remedy}", markup=False, highlight=False, soft_wrap=True)
    if measure:
        _measure()
    if any(not part.extra for part in remedies):
        raise typer.Exit(1)


def _with(part: Part) -> str:
    if part.missing:
        return f"missing: {', '.join(part.missing)}"
    return ", ".join(f"{name} {version}" for name, version in part.packages) if part.extra else "complete"


def _measure() -> None:
    from workbench.doctor.quiet import how_quiet

    with console.status("Timing a network against its own copy, about 20 seconds"):
        quiet = how_quiet()
    console.print(escape(quiet.verdict), highlight=False, soft_wrap=True)
    for line in quiet.advice:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
