"""The commands on studies that are kept: `workbench study ls | show | compare | gc | export`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from workbench.errors import BadValue
from workbench.terminal import console, frame_table, number, plain_table

if TYPE_CHECKING:
    import pandas as pd

    from workbench.diagnosis.comparison import Contrast
    from workbench.kept import Kept

MEGABYTE = 10**6
#: What `show` shows behind the figure that the study is judged by, where it was measured.
SHOWN = ("latency_ms", "speedup", "macs", "params", "file_bytes")

app = typer.Typer(help="Look at studies that are kept, tidy them up, take them elsewhere.", no_args_is_help=True)
Place = Annotated[str, typer.Argument(help="A study's name in `ls` or the beginning of it, its folder, or the address "
                                           "of its database.")]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("ls")
def list_studies(
    place: Annotated[
        str, typer.Argument(help="A folder of studies, or the address of a database; else those of yours.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the studies that are kept, the newest first."""
    from workbench.kept import listed

    found = listed(place)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    table = plain_table("Studies")
    for name, side in (("study", "left"), ("model", "left"), ("data", "left"), ("variants", "right"), ("MB", "right"),
                       ("newest variant", "left")):  # fmt: skip
        table.add_column(name, justify="right" if side == "right" else "left")
    for one in found:
        size = f"{one.bytes / MEGABYTE:,.1f}" if one.bytes else ""
        name = one.study if place else Path(one.study).name
        table.add_row(*map(escape, (name, one.model, one.data, f"{one.variants:,}", size, one.changed)))
    console.print(table if found else "There are no studies here.", soft_wrap=True)
    _tell(f"{one.study}: {one.problem}" for one in found if one.problem)


@app.command()
def show(
    study: Place,
    where: Annotated[str, typer.Option(help="Limits on what is shown: 'accuracy >= 0.92 and speedup > 2'.")] = "",
    columns: Annotated[str, typer.Option(help="Columns of the table, with commas between; 'all' is every one.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show the variants of a study, each figure with its 95 % interval."""
    from workbench.frames.frame import where_rows
    from workbench.kept import Kept

    kept = Kept(study)
    frame = where_rows(kept.frame(), where or None)
    chosen = _columns(frame, columns)
    if as_json:
        ends = [f"{name}{end}" for name in chosen for end in ("", "_low", "_high")]
        typer.echo(frame[[name for name in ends if name in frame.columns]].to_json(orient="records", indent=2))
        return
    console.print(_with_intervals(f"{_title(kept)}: {len(frame):,} variants", frame, chosen), soft_wrap=True)
    _tell(kept.notes)


@app.command()
def compare(
    study: Place,
    first: Annotated[str, typer.Argument(help="A variant's id, the beginning of it, or its name.")],
    second: Annotated[str, typer.Argument(help="The other one's.")],
    as_json: AsJson = False,
) -> None:
    """Show what becomes of each figure from one variant to another, paired on the same inputs."""
    from workbench.kept import Kept

    kept = Kept(study)
    found = kept.compare(first, second)
    if as_json:
        typer.echo(json.dumps([asdict(one) | {"distinguishable": one.distinguishable} for one in found], indent=2))
        return
    table = plain_table(_title(kept))
    names = [kept.variant(one).name for one in (first, second)]
    for name in ("", *names, "change", "how it is known"):
        table.add_column(escape(name), justify="right" if name in names else "left")
    for one in found:
        ends = (one.first.value, one.second.value)
        table.add_row(one.name, *map(number, ends), escape(_change(one)), one.how)
    console.print(table, soft_wrap=True)


@app.command()
def gc(
    study: Place,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them; without it they are only counted.")] = False,
) -> None:
    """Find the files that no variant of a study has, and delete them with --yes."""
    from workbench.kept import Kept

    found = Kept(study).tidy(remove=yes)
    for name, size in sorted(found.items()):
        console.print(f"{name}  {size:,} bytes", highlight=False)
    freed = f"{len(found):,} files, {sum(found.values()) / MEGABYTE:,.1f} MB"
    if not found:
        console.print("Every file belongs to a variant.")
    else:
        console.print(f"Freed: {freed}." if yes else f"Would be freed: {freed}. --yes deletes them.", highlight=False)


@app.command("export")
def take_out(
    study: Place,
    out: Annotated[Path, typer.Argument(help="A table as .csv, .parquet or .json; or the study: a folder or .zip.")],
) -> None:
    """Write the table of a study, or the whole study with its files, which wb.Study(path=...) opens again."""
    from workbench.kept import Kept

    kept = Kept(study)
    missing = kept.save(out)
    console.print(f"Wrote {len(kept.variants):,} variants to {escape(str(out))}.", highlight=False, soft_wrap=True)
    _tell([*kept.notes, *missing])


def _title(kept: Kept) -> str:
    model, data = kept.about.get("model_name", ""), kept.about.get("data_name", "")
    return f"{model} on {data}" if model else kept.name


def _columns(frame: pd.DataFrame, given: str) -> list[str]:
    from workbench.errors import unknown

    if given == "all":
        return [name for name in frame.columns if not name.endswith(("_low", "_high"))]
    names = [name.strip() for name in given.split(",") if name.strip()]
    for name in names:
        if name not in frame.columns:
            raise unknown("column", name, frame.columns)
    if given and not names:
        raise BadValue(f"--columns is {given!r}. Give names with commas between, such as accuracy,speedup.")
    usual = dict.fromkeys(("id", "name", frame.attrs["judged_by"], *SHOWN))
    return names or [name for name in usual if name in frame.columns]


def _with_intervals(title: str, frame: pd.DataFrame, columns: list[str]) -> Any:
    """The chosen columns as texts, each measured figure with the ends of its interval behind it."""
    import pandas as pd

    texts = {}
    for name in columns:
        ends = [f"{name}{end}" for end in ("_low", "_high")]
        known = ends[0] in frame.columns
        rows = frame[[name, *ends]] if known else frame[[name]]
        texts[name] = [_text(*values) for values in rows.itertuples(index=False)]
    return frame_table(title, pd.DataFrame(texts, columns=columns, dtype=object))


def _text(value: Any, low: float | None = None, high: float | None = None) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if low is None or high is None or value != value or low == high:
        return number(value) if value == value else ""
    return f"{number(value)} ({number(low)} to {number(high)})"


def _change(one: Contrast) -> str:
    """A change with its interval; of the speed-up, how many times faster the second is."""
    if one.change is None:
        return "unknown"
    ends = f"({number(one.change.low)} to {number(one.change.high)})"
    exact = one.change.low == one.change.high
    said = number(one.change.value) if exact else f"{number(one.change.value)} {ends}"
    return said if one.distinguishable or exact else f"{said}, not distinguishable"


def _tell(notes: Any) -> None:
    for note in notes:
        console.print(f"[yellow]Note:[/] {escape(note)}", highlight=False, soft_wrap=True)
