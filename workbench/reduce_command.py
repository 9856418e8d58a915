"""The command `workbench reduce`: the smallest part of an ONNX file that shows a fault, as a zip for a bug report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from workbench.terminal import console

if TYPE_CHECKING:
    from workbench.reduction.result import Reduction


def reduce(  # noqa: PLR0913  # the options of a command
    file: Annotated[Path, typer.Argument(help="The ONNX file with the fault.")],
    against: Annotated[
        str,
        typer.Option(help="What is right: another ONNX file; or this one, run 'unoptimised' or by 'onnx' itself."),
    ] = "unoptimised",
    out: Annotated[Path, typer.Option(help="The zip that is written.")] = Path("fault.zip"),
    given: Annotated[Path | None, typer.Option("--input", help="Inputs as .npz, by name or in order.")] = None,
    fault: Annotated[str, typer.Option(help="wrong, slow, refused or 'ends the process'; else whichever shows.")] = "",
    tolerance: Annotated[float, typer.Option(help="What outputs may differ by, of their largest number.")] = 0.0,
    seconds: Annotated[float, typer.Option(help="How long the timing that confirms a slow one takes.")] = 2.0,
) -> None:
    """Reduce an ONNX file to the smallest part that still shows its fault, with one command that reproduces it."""
    from workbench.reduction.reduction import Ask, reduce_file

    ask = Ask(fault, tolerance or None, seconds)
    with console.status("Looking for the smallest part"):
        found = reduce_file(file, against, inputs=None if given is None else _inputs(given), ask=ask)
    console.print(escape(f"{_told(found)}"), highlight=False, soft_wrap=True)
    console.print(f"Wrote {escape(str(found.save(out)))}.", highlight=False, soft_wrap=True)


def _told(found: Reduction) -> str:
    return f"{found}\nIt took {found.tried} tries. To see it: unzip, then python fault/reproduce.py"


def _inputs(path: Path) -> dict[str, Any] | list[Any]:
    """The arrays of a file; by order where their names say no more than that."""
    from workbench.untrusted.arrays import read_npz

    held = read_npz(path)
    numbered = all(name.startswith(("arr_", "array_", "input_")) for name in held)
    return list(held.values()) if numbered else dict(held)
