"""The command `workbench report`: a study that is kept, as a page or as a model card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from workbench.errors import BadValue, WorkbenchError
from workbench.study_commands import Place
from workbench.terminal import console

if TYPE_CHECKING:
    from workbench.data import Data
    from workbench.kept import Kept
    from workbench.models import Model


def report(  # noqa: PLR0913  # the options of a command
    study: Place,
    out: Annotated[Path, typer.Argument(help="The file: .html is a page, .md a Hugging Face model card.")],
    chosen: Annotated[str, typer.Option(help="The variant that it is about: its id or name; else by the limits.")] = "",
    minimise: Annotated[str, typer.Option(help="What was to be small: latency_ms, macs or params.")] = "latency_ms",
    where: Annotated[
        list[str] | None, typer.Option(help="A limit, as in search: 'accuracy >= baseline - 0.01'. Several times.")
    ] = None,
    title: Annotated[str, typer.Option(help="The heading; else the names of model and data.")] = "",
    model: Annotated[str, typer.Option(help="The model's name or file, where the study's own name is none.")] = "",
    data: Annotated[str, typer.Option(help="The data, likewise.")] = "",
) -> None:
    """Write a report on a study: what was asked, the front, the chosen variant and its costs, how it was measured."""
    import workbench as wb
    from workbench.kept import Kept
    from workbench.report.reopened import reopened

    kept = Kept(study)
    variants = reopened(kept, *loaded(kept, model, data))
    picked = kept.variant(chosen).id if chosen else None
    file = wb.report(variants, out, chosen=picked, minimise=minimise, where=where or "", title=title)
    console.print(f"Wrote {escape(str(file))}.", highlight=False, soft_wrap=True)


def loaded(kept: Kept, model: str, data: str) -> tuple[Model, Data]:
    """Model and data by the names that the study remembers, unless others are given."""
    import workbench as wb

    names = model or kept.about.get("model_name", ""), data or kept.about.get("data_name", "")
    try:
        return wb.load(names[0]), wb.data(names[1])
    except WorkbenchError as error:
        raise BadValue(
            f"The study is about {names[0]} on {names[1]}, which cannot be loaded by these names. {error} "
            "Say where they are: --model net.onnx --data images.npz."
        ) from error
