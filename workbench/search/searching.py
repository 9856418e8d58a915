"""The part of a `Study` that searches: it sets the loop up, and puts in order what was found."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from workbench.building import build
from workbench.diagnosis.certifying import certificate, claim_on
from workbench.diagnosis.evaluator import Evaluator
from workbench.errors import BadValue, WorkbenchError
from workbench.frames.limits import COMPARISONS
from workbench.frames.pareto import TIMED
from workbench.interface.arguments import check_kinds
from workbench.jobs import Job, Reporter
from workbench.models.graph import Graph
from workbench.progress import follow
from workbench.recipe import Recipe
from workbench.search.explaining import explained
from workbench.search.found import Found, Promise
from workbench.search.goal import SMALL, Goal, goal_of, lost, minutes_of, quality
from workbench.search.harm import apart, carried, measured
from workbench.search.known import remembered
from workbench.search.ledger import Ledger
from workbench.search.loop import Loop
from workbench.search.mending import mended
from workbench.search.menu import menus
from workbench.search.trial import Start, Tried
from workbench.steps.drop_blocks import DropBlocks
from workbench.steps.quantize import Quantize
from workbench.workers.crew import Crew
from workbench.workers.pool import Workers

if TYPE_CHECKING:
    import pandas as pd

    from workbench.certificate import Certificate
    from workbench.data import Data
    from workbench.models.model import Model
    from workbench.tasks import Metric, Task
    from workbench.variant import Variant
    from workbench.workers.order import Order

T = TypeVar("T")
Progress = Callable[[float, str], None] | bool

#: Calibration inputs that options are tried on.
INPUTS = 256
#: Share of the time after which no further family is tried.
TRYING = 0.25
#: Residual blocks that may go before anything else is chosen.
BLOCKS = (1, 2)
COLUMNS = ["layer", "channels_kept", "chosen", "harm", "price", "second", "harm_more", "price_more"]


class Searching(ABC):
    """The part of a `Study` that finds recipes."""

    model: Model
    data: Data
    task: Task
    path: Path
    _given: Data

    @property
    @abstractmethod
    def baseline(self) -> Variant:
        """The original network."""

    @abstractmethod
    def _make(self, recipe: Recipe, report: Reporter, crew: Crew | None = None) -> Variant:
        """The finished variant of a recipe, by workers where there are any."""

    @abstractmethod
    def _order(self) -> Order:
        """What workers are asked, but for the recipe."""

    @abstractmethod
    def _job(self, name: str, work: Callable[[Reporter], T]) -> Job[T]:
        """Work on a thread of its own, when its turn has come."""

    @abstractmethod
    def _evaluator(self, split: str) -> Evaluator:
        """Where artefacts are tried."""

    @abstractmethod
    def id_of(self, recipe: Recipe) -> str:
        """The id that a recipe's variant has or will have here."""

    @check_kinds
    def search(
        self,
        minimise: str = "latency_ms",
        where: str | Sequence[str] = "",
        budget: str | float = "10 min",
        *,
        train: bool = False,
        executor: Executor | Workers | None = None,
        progress: Progress = True,
    ) -> Found:
        """Find the variant with the least latency (or `macs`, `params`) that keeps to limits.

        Every layer, or group of tied channels, may keep what it has, lose channels, or become a low-rank or filter
        chain of any family; residual blocks may go, and int8 follows where it is faster. What is best under the limits
        is chosen by an integer program on predicted latency and on harm that was tried on calibration inputs; what was
        chosen is built and measured, and the next choice knows it. Limits on what the study is judged by are kept on
        the validation split, and proved there where that is possible (`found.certificate`). The test split chooses
        nothing: the best is proved on it once, at the end (`found.confirmation`).

        Args:
            minimise: "latency_ms", "macs" or "params".
            where: limits such as `"accuracy >= baseline - 0.01"` (without one: that, a hundredth less than the
                original), `"speedup >= 3"`, `"params <= 0.3"` (a share of the original's),
                `"peak_activation_bytes <= 64 kB"`; several in a list, or joined by "and".
            budget: the time that it may take, such as "10 min"; what is being built at the end is finished.
            train: fine-tune every choice with distillation before it is quantized.
            executor: any `concurrent.futures.Executor` whose workers build and judge the variants, several at once;
                they are timed and stored by this process. `wb.Workers(executor, timing=..., count=...)` says more.
            progress: a bar on the terminal (True), nothing (False), or a function of (fraction, stage).

        Returns variants best first: those within the limits, the smallest of them first. They are in the study as soon
        as each is finished, also where the search is cancelled or killed; the same search goes on from them.

        Raises: `BadValue`, `UnknownName`; `OutOfReach` naming a limit that cannot be met and the nearest that can;
        `Cancelled`.
        """
        return follow(self.submit_search(minimise, where, budget, train=train, executor=executor), progress)

    @check_kinds
    def submit_search(
        self,
        minimise: str = "latency_ms",
        where: str | Sequence[str] = "",
        budget: str | float = "10 min",
        *,
        train: bool = False,
        executor: Executor | Workers | None = None,
        watch: Callable[[Sequence[Promise]], None] = lambda promises: None,
    ) -> Job[Found]:
        """The same without blocking; `watch` is given the predicted front, again whenever it was corrected."""
        metric = self.task.principal
        goal, minutes = goal_of(minimise, where, metric), minutes_of(budget)
        if goal.loss is None and goal.floor is None:
            goal = replace(goal, loss=_usual(metric))
        if train and self.data.get("train") is None:
            raise BadValue(f"train=True needs a 'train' split, and {self.data.name} has none.")
        if self.data.get("validation") is None or self.data.get("calibration") is None:
            raise BadValue(
                f"A search chooses on the 'validation' split and tries options on 'calibration', and {self.data.name} "
                "lacks one. Give wb.data a 'train' split to take them from; the test split only reports."
            )

        workers = executor if executor is None or isinstance(executor, Workers) else Workers(executor)

        def work(report: Reporter) -> Found:
            deadline = time.monotonic() + 60 * minutes
            with self._crew(workers, report) as crew:
                loop = self._loop(goal, deadline, report, train=train)
                if crew is not None:
                    loop.make, loop.workers = partial(self._make, crew=crew), lambda: crew.count
                watch(loop.ledger.promises())
                loop.run(report.part(0.3, 0.98), lambda: watch(loop.ledger.promises()))
            found = self._found(loop, report)
            return found if crew is None else replace(found, notes=(*found.notes, *crew.notes))

        return self._job(f"search for the least {SMALL[goal.minimise]}", work)

    @contextmanager
    def _crew(self, workers: Workers | None, report: Reporter) -> Iterator[Crew | None]:
        """Workers that are ready for this study; they have the original to compare with."""
        if workers is None:
            yield None
            return
        self._make(Recipe(), report.part(0.0, 0.05))
        with Crew(workers, self._order(), self._given, report.part(0.05, 0.05)) as crew:
            yield crew

    def _loop(self, goal: Goal, deadline: float, report: Reporter, *, train: bool) -> Loop:
        original = self._make(Recipe(), report.part(0.0, 0.05))
        quality(original, self.task.principal.name)
        lowering = self._lowering(goal, original, report.part(0.05, 0.1))
        begun = time.monotonic()
        starts = self._starts(lowering, report.part(0.1, 0.3), begun + TRYING * (deadline - begun), train=train)
        bare = self._make(Recipe(lowering), report.part(0.3, 0.3))
        start = lost(original, bare, self.task.principal)
        known = (bare,) if lowering else ()
        ledger = Ledger(goal, self.task.principal, original, starts, train, start, known)
        return Loop(ledger, self._make, deadline)

    def _lowering(self, goal: Goal, original: Variant, report: Reporter) -> tuple[Quantize, ...]:
        """int8, where this runtime is faster in it and it keeps to the limit, or files are limited."""
        limited = any(one.column.endswith("file_bytes") for one in goal.limits)
        if goal.minimise != "latency_ms" and not limited:
            return ()
        step = Quantize("int8")
        try:
            quantized = self._make(Recipe((step,)), report)
        except WorkbenchError as error:
            report.note(f"int8 is left out: {error}")
            return ()
        faster = quantized["speedup"].value > 1 or limited
        metric = self.task.principal
        kept = lost(original, quantized, metric) <= goal.allowed(original, metric)
        return (step,) if faster and kept else ()

    def _starts(
        self, lowering: Sequence[Quantize], report: Reporter, until: float, *, train: bool
    ) -> tuple[Start, ...]:
        """The original, and the original without a block or two, each with the harm of its options."""
        scene = build.context(self.model, self.data, report)
        assert scene.calibration is not None
        scene = replace(scene, calibration=scene.calibration.first(INPUTS))
        part = report.part(0.0, 0.8)
        own = menus(self.model, lowering)
        harm = remembered(
            self.path, self.id_of(Recipe()), own[0], lambda: measured(self.model, own[0], scene, part, until)
        )
        harm = mended(harm, own[0]) if train else harm
        found = [Start(Recipe(), self.model, own, harm)]
        for count in filter(self._can_drop, BLOCKS):
            steps = Recipe((DropBlocks(count),))
            model = self._rewritten(steps, report.part(0.8, 1.0))
            less = menus(model, lowering)
            lost = apart(self.model.module, model.module, self.model.network, scene)
            found.append(Start(steps, model, less, carried(harm, own[0], less[0]), lost))
        return tuple(found)

    def _can_drop(self, count: int) -> bool:
        try:
            plan = DropBlocks(count).plan(self.model)
        except BadValue:  # it has fewer
            return False
        return plan.changes and not plan.problem

    def _rewritten(self, steps: Recipe, report: Reporter) -> Model:
        module = build.rewrite(self.model, steps, self.data, report)
        assert isinstance(module, Graph)
        return replace(self.model, module=module)

    def _found(self, loop: Loop, report: Reporter) -> Found:
        """What was tried, best first, with the proof of the best."""
        ledger = loop.ledger
        kept = [one for one in ledger.tried if self._keeps(one, ledger)]
        order = sorted(kept, key=lambda one: _size(one.variant, ledger.goal.minimise))
        rest = sorted((one for one in ledger.tried if one not in kept), key=lambda one: one.loss)
        variants = tuple({one.variant.id: one.variant for one in (*order, *rest)}.values())
        best = order[0] if order else None
        return Found(
            variants=variants,
            kept=len({one.variant.id for one in order}),
            promises=tuple(ledger.promises()),
            expected={one.variant.id: one.expected for one in ledger.tried},
            certificate=self._proof(ledger, best, "validation", report) if best is not None else None,
            confirmation=self._proof(ledger, best, "test", report) if best is not None else None,
            why=_why(best, ledger) if best is not None else None,
            notes=_notes(loop, best),
        )

    def _keeps(self, tried: Tried, ledger: Ledger) -> bool:
        variant = tried.variant
        timed = [one for one in ledger.goal.limits if one.column in TIMED]
        planned = replace(ledger.goal, limits=tuple(one for one in ledger.goal.limits if one not in timed))
        plan, before = variant.recipe.plan(self.model), Recipe().plan(self.model)
        in_time = all(COMPARISONS[one.comparison](variant[one.column].value, one.value) for one in timed)
        return tried.loss <= ledger.allowed and in_time and planned.met_by(plan, before)

    def _proof(self, ledger: Ledger, best: Tried, split: str, report: Reporter) -> Certificate | None:
        if self.data.get(split) is None:
            return None
        evaluator = self._evaluator(split)
        try:
            claim = claim_on(evaluator, None, ledger.allowed, 0.05)
        except BadValue:
            return None  # no limit, none that leaves room for a loss, or a figure of all inputs together
        return certificate((ledger.baseline, best.variant), evaluator, claim, report, worst_class=False)


def _size(variant: Variant, minimise: str) -> float:
    return -variant["speedup"].value if minimise == "latency_ms" else variant[minimise].value


def _usual(metric: Metric) -> float:
    """What may be lost where nobody says so: a point of a share, a hundredth of what else there is."""
    if metric.share:
        return 0.01
    sign = ">= baseline - 1" if metric.more_is_better else "<= baseline + 1"
    raise BadValue(
        f"This study is judged by {metric.word}. Say how much of it may be lost, such as where='{metric.name} {sign}'."
    )


def _why(best: Tried, ledger: Ledger) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(explained(best, ledger.forecast.harm.factors, ledger.goal.minimise), columns=COLUMNS)


def _notes(loop: Loop, best: Tried | None) -> tuple[str, ...]:
    ledger = loop.ledger
    found = list(dict.fromkeys(loop.notes))
    if ledger.tried and (why := ledger.unreachable()):
        found.append(why)
    if best is None and ledger.tried:
        nearest = min(ledger.tried, key=lambda one: one.loss)
        found.append(
            f"No variant kept to the limits in the time given; nearest is {nearest.variant.name}. Give more time, "
            "let it train, or allow more."
        )
    if time.monotonic() > loop.deadline:
        count = len(ledger.tried)
        found.append(f"The time was over when {count} of its choices were built; with more it may find better.")
    return tuple(found)
