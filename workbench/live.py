"""What a terminal shows while a search runs: the time left, the front so far, and what is promised beyond it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from workbench.frames.limits import named
from workbench.search.found import Found, Promise
from workbench.search.goal import lost, minutes_of

if TYPE_CHECKING:
    from workbench.jobs import Job
    from workbench.study import Study
    from workbench.variant import Variant

#: Rows of the table: the best, and as many promises.
ROWS = 8


class Display:
    """Draws a study's search; `promises` is what the search's `watch` is given."""

    def __init__(self, study: Study, minimise: str, budget: str | float) -> None:
        self.study, self.minimise = study, named(minimise)
        self.ends = time.monotonic() + 60 * minutes_of(budget)
        self._promises: Sequence[Promise] = ()
        self._known = {one.id for one in study.variants}

    def promised(self, promises: Sequence[Promise]) -> None:
        """The predicted front as it is now."""
        self._promises = promises

    def follow(self, job: Job[Found], console: Console) -> Found:
        """Show the search until it ends, and return what it found. Raises: what the search raised."""
        with Live(console=console, refresh_per_second=2, get_renderable=lambda: self.picture(job)):
            try:
                while not job.done:
                    time.sleep(0.2)
            except KeyboardInterrupt:
                job.cancel()
                job.join()
                raise
        return job.result()

    def picture(self, job: Job[Found]) -> RenderableType:
        """The whole display."""
        left = max(self.ends - time.monotonic(), 0.0)
        head = Text(f"{left // 60:.0f} min {left % 60:02.0f} s left · {job.progress.stage}", style="dim")
        return Group(head, self._table())

    def _table(self) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("")
        for title in (self.minimise, "change on validation"):
            table.add_column(title, justify="right")
        table.add_column("recipe")
        metric = self.study.task.principal
        mine = [one for one in self.study.variants if one.id not in self._known and one.recipe.steps]
        baseline = next((one for one in self.study.variants if not one.recipe.steps), None)
        for one in sorted(mine, key=self._size)[:ROWS]:
            change = "" if baseline is None else metric.text(-lost(baseline, one, metric))
            table.add_row("●", f"{one[self.minimise].value:,.4g}", change, escape(one.name))
        for promise in self._promises[:ROWS]:
            table.add_row(
                "○", f"{promise.value:,.4g}", metric.text(-promise.loss), escape(promise.recipe.name), style="dim"
            )
        return table

    def _size(self, variant: Variant) -> float:
        return variant[self.minimise].value
