"""The command line: `workbench info | run | search | certify | check | report | reduce | mcp | study | device | probe |
lab | doctor | schema | dashboard`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from workbench import (
    device_command,
    doctor_command,
    lab_commands,
    probe_command,
    reduce_command,
    report_command,
    study_commands,
)
from workbench.errors import BadFile, BadValue, Cancelled, UnknownName, WorkbenchError
from workbench.terminal import console, frame_table, plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from workbench.manifest import Manifest
    from workbench.models import Model
    from workbench.variant import Variant

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
#: What `run` shows behind what the study is judged by: the estimate's name, its label, and how its value is written.
FIGURES = (
    ("macs", "MACs", "{:,.0f}"),
    ("params", "parameters", "{:,.0f}"),
    ("memory_access_bytes", "memory access, bytes", "{:,.0f}"),
    ("file_bytes", "file, bytes", "{:,.0f}"),
    ("latency_ms", "latency, ms", "{:.3g}"),
    ("speedup", "speed-up", "{:.2f}×"),
)

Kept = Annotated[
    str | None,
    typer.Option(help="The study's folder, or its database (postgresql://...), kept and reused; else a usual one."),
]

app = typer.Typer(
    help="Make a trained neural network small and fast, and see the truth about it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(study_commands.app, name="study")
app.add_typer(lab_commands.app, name="lab")
app.command()(doctor_command.doctor)
app.command()(report_command.report)
app.command()(reduce_command.reduce)
app.command()(device_command.device)
app.command()(probe_command.probe)


def main() -> None:
    """Entry point. Exit codes: 1 the work failed, 2 the arguments cannot be used, 130 interrupted."""
    try:
        app()
    except (Cancelled, KeyboardInterrupt):
        _fail("Interrupted. Variants finished before are kept.", INTERRUPTED)
    except (UnknownName, BadValue, BadFile) as error:
        _fail(str(error), MISUSED)
    except WorkbenchError as error:
        _fail(str(error), FAILED)


def _fail(message: str, code: int) -> None:
    Console(stderr=True).print(f"[bold red]Error:[/] {escape(message)}", soft_wrap=True, highlight=False)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    if version:
        from workbench import __version__

        console.print(f"workbench {__version__}", highlight=False)
        raise typer.Exit


@app.command()
def info(
    model: Annotated[str | None, typer.Argument(help="A model's name or file; none lists the known ones.")] = None,
) -> None:
    """Show what a model costs, layer by layer; without a name, the models that can be loaded."""
    import workbench as wb

    if model is None:
        console.print(frame_table("Models", wb.catalog()))
        return
    loaded = wb.load(model)
    console.print(_layer_table(loaded))
    for note in loaded.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}", highlight=False)


@app.command()
def run(  # noqa: PLR0913  # each is an option of the command
    model: Annotated[str, typer.Argument(help="A bundled model's name, or a file.")],
    recipe: Annotated[Path, typer.Argument(help="A recipe in YAML or JSON, as written by Recipe.save or an export.")],
    out: Annotated[Path, typer.Option(help="The folder for the exported files; made where missing.")],
    data: Annotated[str, typer.Option(help="What it is measured on; else what a bundled model belongs to.")] = "",
    format: Annotated[str, typer.Option(help="onnx, safetensors, bundle, c99, ...: see the documentation.")] = "onnx",  # noqa: A002  # the option's name
    opset: Annotated[int | None, typer.Option(help="Of onnx: the version of its operators; else as measured.")] = None,
    study: Kept = None,
) -> None:
    """Apply a recipe to a model, measure the result against the original, export it and verify the export."""
    import workbench as wb

    loaded_recipe = wb.Recipe.load(recipe)
    runs = wb.Study(wb.load(model), wb.data(data or _belongs_to(model)), path=study)
    variant = runs.run(loaded_recipe)
    console.print(_comparison(runs.baseline, variant))
    for note in variant.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}", highlight=False)
    manifest = wb.export(variant, out, format=format, opset=opset)
    console.print(_exported(manifest, variant), highlight=False)


def _exported(manifest: Manifest, variant: Variant) -> str:
    """What was written, and whether it was read back."""
    said = "Exported and verified" if manifest.proven else "Exported, not verified"
    why = "".join(f" {escape(note)}" for note in manifest.notes if note not in variant.notes)
    return f"{said}: {escape(', '.join(manifest.files))} in {escape(str(manifest.path))}{why}"


@app.command()
def certify(  # noqa: PLR0913  # each is an option of the command
    model: Annotated[str, typer.Argument(help="A bundled model's name, or a file.")],
    recipe: Annotated[Path, typer.Argument(help="A recipe in YAML or JSON, as written by Recipe.save or an export.")],
    margin: Annotated[float, typer.Option(help="What it may lose at most: 0.01 is one point of accuracy.")] = 0.01,
    alpha: Annotated[float, typer.Option(help="How likely the answer may be wrong, at most.")] = 0.05,
    split: Annotated[str, typer.Option(help="validation, or test to confirm what was chosen.")] = "validation",
    metric: Annotated[str, typer.Option(help="Another metric of the task than the one that decides.")] = "",
    worst_class: Annotated[bool, typer.Option("--worst-class", help="Ask it of every class.")] = False,
    data: Annotated[str, typer.Option(help="What it is measured on; else what a bundled model belongs to.")] = "",
    study: Kept = None,
) -> None:
    """Test whether a variant surely loses no more than a margin: exit code 0 where it does, 1 where it does not.

    A gate for continuous integration: what is not known for sure does not pass.
    """
    import workbench as wb

    loaded_recipe = wb.Recipe.load(recipe)
    runs = wb.Study(wb.load(model), wb.data(data or _belongs_to(model)), path=study)
    found = runs.certify(
        runs.run(loaded_recipe),
        margin=margin,
        alpha=alpha,
        split=split,
        metric=metric or None,
        worst_class=worst_class,
    )
    style = "bold green" if found.passes else "bold red"
    console.print(f"[{style}]{found.answer.value.capitalize()}.[/] {escape(str(found))}", highlight=False)
    if not found.passes:
        raise typer.Exit(FAILED)


@app.command()
def search(  # noqa: PLR0913  # each is an option of the command
    model: Annotated[str, typer.Argument(help="A bundled model's name, or a file.")],
    minimise: Annotated[str, typer.Option(help="latency_ms, macs or params.")] = "latency_ms",
    where: Annotated[
        list[str] | None,
        typer.Option(help="A limit: 'accuracy >= baseline - 0.01', 'params <= 0.3'. May be given several times."),
    ] = None,
    budget: Annotated[str, typer.Option(help="The time that it may take.")] = "10 min",
    train: Annotated[bool, typer.Option("--train", help="Fine-tune every choice.")] = False,
    out: Annotated[Path | None, typer.Option(help="A folder to export the best to.")] = None,
    data: Annotated[str, typer.Option(help="What it is measured on; else what a bundled model belongs to.")] = "",
    study: Kept = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that build variants at once; 0: this one.")] = 0,
) -> None:
    """Find the best variant within limits: exit code 1 where none keeps to them."""
    import workbench as wb
    from workbench.live import Display
    from workbench.workers.pool import processes

    runs = wb.Study(wb.load(model), wb.data(data or _belongs_to(model)), path=study)
    display = Display(runs, minimise, budget)
    with processes(workers) as pool:
        job = runs.submit_search(minimise, where or "", budget, train=train, executor=pool, watch=display.promised)
        found = display.follow(job, console)
    if found.best is None:
        _fail(str(found), FAILED)
        return
    console.print(_comparison(runs.baseline, found.best))
    console.print(escape(f"{found}\n\n{found.best.recipe.code()}"), highlight=False, soft_wrap=True)
    if out is not None:
        manifest = wb.export(found.best, out)
        console.print(
            f"Exported and verified: {escape(', '.join(manifest.files))} in {escape(str(out))}", highlight=False
        )


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="What wb.export, or `workbench run`, wrote.")],
    seconds: Annotated[float, typer.Option(min=0, help="How long to time it; 0 for not at all.")] = 2.0,
    speedup: Annotated[float, typer.Option(min=0, help="The least speed-up that it must surely have here.")] = 0.0,
    preprocess: Annotated[str, typer.Option(help="FILE.py:FUNCTION, preprocessing of yours to be checked.")] = "",
    run_code: Annotated[
        bool, typer.Option("--run-code", help="You trust the folder's maker: run C99 and .pt2, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check whether an export still answers here as it was measured: exit code 0 where it does, 1 where it does not.

    The same as `python check.py` in that folder, which needs numpy and ONNX Runtime alone.
    """
    from workbench.proof.checking import checked

    found = checked(folder, seconds=seconds, speedup=speedup, preprocess=preprocess, run_code=run_code)
    typer.echo(found.to_json() if as_json else found)
    raise typer.Exit(FAILED if found.differs else 0)


@app.command()
def mcp(folder: Annotated[Path, typer.Argument(help="The study's folder; made where missing.")]) -> None:
    """Serve one study folder to agents: the Model Context Protocol on stdin and stdout."""
    try:
        from workbench.agents import serve
    except ImportError as error:
        raise BadValue(
            f"This needs {error.name}, which is not installed. Install it with pip install 'nn-workbench[mcp]'."
        ) from error
    serve(folder)


def _belongs_to(model: str) -> str:
    """The data of a bundled model, or the bundled data."""
    from workbench.models.architectures import BUNDLED

    return BUNDLED[model].data if model in BUNDLED else "fashion-mnist"


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option(help="The file to write it to; else it is printed.")] = None,
) -> None:
    """Print the JSON Schema of recipes, by which editors complete and check them."""
    import workbench as wb
    from workbench.files.disk import told

    text = json.dumps(wb.Recipe.schema(), indent=2)
    if output is None:
        typer.echo(text)
        return
    with told(output, "Writing the schema"):
        output.write_text(text + "\n", encoding="utf-8")


@app.command()
def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port; the next free one is taken.")] = 8866,
    browser: Annotated[bool, typer.Option("--browser", help="Open the page in the default browser.")] = False,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1",
    base_url: Annotated[str, typer.Option(help="What a proxy puts before the page's address: /workbench/.")] = "/",
    public: Annotated[
        bool, typer.Option("--public", help="Ask for no token: whoever reaches it may use it, within limits.")
    ] = False,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="What a visitor may use: memory_mb=4000, job_minutes=20, stored_mb=1000, upload_mb=100; "
                          "and visitors=20, how many at a time. May be given several times."),
    ] = None,
) -> None:  # fmt: skip
    """Serve the dashboard on this machine until interrupted, and print its address with the token that opens it."""
    import webbrowser

    from workbench.dashboard import Site, free_port, new_token, parse_quota, serving

    token = "" if public else os.environ.get("WORKBENCH_TOKEN") or new_token()
    quota, visitors = parse_quota(limit or [], public)
    site = Site(host, token, base_url, visitors, quota)
    with serving(free_port(port, host=host), site=site) as (address, server):
        console.print(f"[bold]The dashboard is at {address}[/]  (Ctrl-C ends it)", highlight=False, soft_wrap=True)
        if browser:
            webbrowser.open(address)
        server.wait()
    if server.returncode:
        raise WorkbenchError(f"The dashboard's server ended with exit code {server.returncode}.")


def _layer_table(model: Model) -> Table:
    totals = model.network.totals
    table = plain_table(f"{model.name}: cost for one input of shape {model.shape}")
    for name in ("layer", "kind", "output", "MACs", "parameters", "memory access, bytes"):
        table.add_column(name, justify="left" if name in {"layer", "kind", "output"} else "right")
    for x in model.network.layers:
        if x.macs or x.params:
            shape = " x ".join(map(str, x.output))
            table.add_row(x.name, x.kind, shape, *(f"{n:,}" for n in (x.macs, x.params, x.memory_access_bytes)))
    table.add_section()
    sums = (totals.macs, totals.params, totals.memory_access_bytes)
    table.add_row("all layers", "", "", *(f"{n:,}" for n in sums), style="bold")
    return table


def _comparison(original: Variant, variant: Variant) -> Table:
    table = plain_table(f"{variant.model.name} on {variant.data.name}, {len(variant.data['test']):,} test images")
    table.add_column("")
    for each in (original, variant):
        table.add_column(each.name, justify="right")
    for key, label, pattern in (one for one in (*_judged(variant), *FIGURES) if one[0] in variant.estimates):
        table.add_row(label, *(_figure(each, key, pattern) for each in (original, variant)))
    return table


def _judged(variant: Variant) -> list[tuple[str, str, str]]:
    """The figures of the study's task, each with its paired difference behind it, as in `FIGURES`."""
    found = []
    for metric in variant.data.task.metrics:  # a study's data know it
        pattern = "{:.2%}" if metric.share else f"{{:.4g}} {metric.unit}".rstrip()
        found += [(metric.name, metric.word, pattern)]
        found += [(f"{metric.name}_change", "change on the same images", "" if metric.share else f"±{metric.unit}")]
    return found


def _figure(variant: Variant, key: str, pattern: str) -> str:
    if key not in variant.estimates:  # of an original that an earlier version measured
        return ""
    from workbench.measure.wording import difference

    estimate = variant[key]
    if not pattern or pattern[0] == "±":  # a paired difference, of a share or in its own unit
        return difference(estimate, pattern[1:] or "%" * (not pattern)) if variant.recipe.steps else ""
    if estimate.low == estimate.high:
        return pattern.format(estimate.value)
    return f"{pattern.format(estimate.value)} ({pattern.format(estimate.low)} to {pattern.format(estimate.high)})"
