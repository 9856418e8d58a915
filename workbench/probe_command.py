"""The command `workbench probe`: variants of a study on another machine, by ssh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from workbench.report_command import loaded
from workbench.study_commands import Place
from workbench.terminal import console, frame_table

if TYPE_CHECKING:
    from workbench.data import Data
    from workbench.kept import Kept
    from workbench.models import Model
    from workbench.study import Study


def probe(  # noqa: PLR0913  # the options of a command
    host: Annotated[str, typer.Argument(help="user@host, or a name of your ssh configuration.")],
    study: Place,
    variants: Annotated[
        list[str] | None, typer.Argument(help="Ids or names of variants, or how they begin; else all.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long to time all of them together.")] = 6.0,
    threads: Annotated[int, typer.Option(help="Threads there.")] = 1,
    python: Annotated[str, typer.Option(help="The Python there that has numpy and onnxruntime.")] = "python3",
    config: Annotated[str, typer.Option(help="A configuration file of ssh's; else the usual one.")] = "",
    model: Annotated[str, typer.Option(help="The model's name or file, where the study's own name is none.")] = "",
    data: Annotated[str, typer.Option(help="The data, likewise.")] = "",
) -> None:
    """Measure variants on another machine in turns with the original, and compare their answers with those here."""
    from workbench.kept import Kept

    kept = Kept(study)
    own = _opened(kept, *loaded(kept, model, data))
    chosen = [kept.variant(one).id for one in variants or ()] or [one.id for one in own.variants]
    found = own.probe(host, chosen, seconds=seconds, threads=threads, python=python, config=config)
    names = {one.id: one.name for one in own.variants}
    frame = found.frame()
    frame["variant"] = [names.get(one, one) for one in frame["variant"]]
    shown = ["variant", "latency_ms", "speedup", "speedup_low", "speedup_high", "disagreement"]
    versions = found.here.get("versions", {})
    title = f"{host}: {found.here.get('processor', '')}, onnxruntime {versions.get('onnxruntime', '')}"
    console.print(frame_table(title, frame[shown]))
    for line in (*found.sentences(names), *filter(None, [found.note])):
        console.print(f"[yellow]Note:[/] {escape(line)}", highlight=False, soft_wrap=True)


def _opened(kept: Kept, model: Model, data: Data) -> Study:
    """The study itself, judged by what it was judged by."""
    import workbench as wb

    study, judged_by = wb.Study(model, data, path=kept.place), kept.about.get("judged_by", "")
    return study if judged_by in {"", study.metric_name} else wb.Study(model, data, path=kept.place, metric=judged_by)
