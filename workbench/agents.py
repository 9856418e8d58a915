"""`workbench mcp`: one study folder as tools that agents call, by the Model Context Protocol on stdin and stdout.

Every figure that was measured comes with its interval; what is predicted says so, and no gain is given without one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

import workbench as wb
from workbench.errors import BadValue, WorkbenchError
from workbench.models.architectures import BUNDLED
from workbench.recipe import REGISTRY
from workbench.study import Study

if TYPE_CHECKING:
    from workbench.jobs import Job
    from workbench.plan import Plan
    from workbench.search.found import Found
    from workbench.variant import Variant

T = TypeVar("T")
Told = dict[str, Any]
Steps = list[dict[str, Any]]

#: Seconds between two looks at a job.
PACE_S = 0.1
#: Rows of a plan that are told: an agent reads them, and a network of 1,000 layers would be all that it reads.
MOST_ROWS = 200
INSTRUCTIONS = (
    "Make a trained network small and fast, and measure what that costs. Call `load` first, `techniques` for what a "
    "recipe may hold, `plan` to see what one would do (it takes moments and measures nothing), `run` to carry it out "
    "and measure it against the original, or `search` for the best within limits. Figures are {value, low, high}: a "
    "95 % interval. A change whose interval holds 0, or a speed-up whose interval holds 1, may be none: never report "
    "such a gain. Choose by figures that begin with `validation_`; those without are of the test split and only report."
)


class Desk:
    """The tools of one study folder. Each gives plain values; what the workbench raises is told as the tool's error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._study: Study | None = None
        self._lock = threading.Lock()

    @property
    def study(self) -> Study:
        """The study. Raises: `BadValue` before a network was loaded."""
        if self._study is None:
            raise BadValue("No network is loaded. Call `load` with the name of a model, such as 'fashion-vgg'.")
        return self._study

    async def load(self, model: str, data: str = "") -> Told:
        """Load a network by its name or file, and data (a name, a folder, a file); what was measured of it before."""
        return await here(lambda: self._load(model, data))

    async def techniques(self) -> Told:
        """What a recipe may hold: the techniques, and the JSON Schema of recipe files with every setting."""
        return {"techniques": list(REGISTRY), "schema": wb.Recipe.schema()}

    async def plan(self, recipe: Steps) -> Told:
        """What a recipe will do to each layer, such as [{"step": "Tucker", "rank": 0.5}]; nothing is computed yet."""
        return await here(lambda: planned(wb.Recipe.from_list(recipe).plan(self.study.model)))

    async def run(self, recipe: Steps, context: Context[Any, Any]) -> Told:
        """Carry a recipe out and measure it against the original; a minute or more, and it can be cancelled."""
        return told(await finished(lambda: self.study.submit(wb.Recipe.from_list(recipe)), context))

    async def search(
        self,
        context: Context[Any, Any],
        minimise: str = "latency_ms",
        where: str = "",
        budget: str = "10 min",
        train: bool = False,
    ) -> Told:
        """Find the best variant within limits, such as "accuracy >= baseline - 0.01", in a budget of time."""

        def start() -> Job[Found]:
            return self.study.submit_search(minimise, where, budget, train=train)

        return found(await finished(start, context))

    async def variants(self) -> Told:
        """Every variant that was measured, with its figures."""
        return {"variants": await here(lambda: [told(one) for one in self.study.variants])}

    async def verdict(self, variant: str) -> Told:
        """Why a variant, by its id, is or is not faster, in a sentence; and what a user must know of it."""
        return await here(lambda: told(self.study[variant]))

    async def export(self, variant: str, format: str = "onnx") -> Told:  # noqa: A002  # the word of wb.export
        """Write a variant's files into the study's folder; they are read back and compared before they count."""
        return await here(lambda: self._export(self.study[variant], format))

    def _load(self, model: str, data: str) -> Told:
        with self._lock:
            bundled = BUNDLED[model].data if model in BUNDLED else "fashion-mnist"
            study = self._study = Study(wb.load(model), wb.data(data or bundled), path=self.folder)
        return {
            "model": study.model.name,
            "data": study.data.name,
            "judged_by": study.metric_name,
            "macs": study.model.network.totals.macs,
            "params": study.model.network.totals.params,
            "layers": list(study.model.network.by_module),
            "variants": [told(one) for one in study.variants],
            "notes": [*study.model.notes, *study.notes],
        }

    def _export(self, variant: Variant, format_: str) -> Told:
        manifest = wb.export(variant, self.folder / "exports" / f"{variant.id}-{format_}", format=format_)
        return {"folder": str(manifest.path), "files": list(manifest.files), "verified": manifest.verified}


def told(variant: Variant) -> Told:
    """A variant, every figure with its interval."""
    return {
        "id": variant.id,
        "name": variant.name,
        "recipe": variant.recipe.to_list(),
        "figures": {
            name: {"value": one.value, "low": one.low, "high": one.high, "unit": one.unit}
            for name, one in variant.estimates.items()
            if name != "predicted_speedup"  # no gain that was not measured
        },
        "verdict": variant.verdict,
        "notes": list(variant.notes),
    }


def planned(plan: Plan) -> Told:
    """A plan: what follows from shapes alone, and what happens to each layer, or why nothing does."""
    rows = [{"step": one.step, "layer": one.layer, "applies": one.applies, "action": one.action} for one in plan.rows]
    return {
        "problem": plan.problem,
        "exact": plan.exact,
        "macs": {"before": plan.before.macs, "after": plan.macs},
        "params": {"before": plan.before.params, "after": plan.params},
        "rows": rows[:MOST_ROWS],
        "left_out": max(0, len(rows) - MOST_ROWS),
        "note": "Counts of a plan. Fewer of them are no gain in speed: run it to have that measured.",
    }


def found(search: Found) -> Told:
    """What a search found, the best first."""
    return {
        "kept": search.kept,
        "variants": [told(one) for one in search.variants[:10]],
        "certificate": str(search.certificate or ""),
        "notes": list(search.notes),
    }


async def finished(start: Callable[[], Job[T]], context: Context[Any, Any]) -> T:
    """The result of a job that is started here: its progress is reported, and it ends where the call is cancelled."""
    job = await here(start)
    try:
        while not job.done:
            now = job.progress
            await context.report_progress(now.fraction, 1.0, now.stage)
            await anyio.sleep(PACE_S)
        return await here(job.result)
    finally:
        job.cancel()  # does nothing to one that has ended


async def here(work: Callable[[], T]) -> T:
    """The result of some work on a thread; what the workbench raises becomes what an agent can read."""

    def done() -> T | ToolError:
        try:
            return work()
        except WorkbenchError as error:
            return ToolError(str(error))

    result = await anyio.to_thread.run_sync(done)
    if isinstance(result, ToolError):
        raise result
    return result


def server(folder: Path) -> MCPServer[Any]:
    """A server with the tools of one study folder."""
    desk, app = Desk(folder), MCPServer[Any]("workbench", instructions=INSTRUCTIONS, log_level="ERROR")
    looking = (desk.load, desk.techniques, desk.plan, desk.variants, desk.verdict)
    for tool in (*looking, desk.run, desk.search, desk.export):
        app.add_tool(tool)
    return app


def serve(folder: Path) -> None:
    """Answer on stdin and stdout until the client closes them."""
    server(folder).run("stdio")
