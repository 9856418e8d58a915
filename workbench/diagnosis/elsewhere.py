"""What a study can be asked about the speed of its variants elsewhere: on another machine, at other batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.diagnosis.diagnostics import Diagnostics, Progress
from workbench.diagnosis.sweeping import sweep
from workbench.errors import BadValue
from workbench.interface.arguments import check_kinds
from workbench.jobs import Job, Reporter
from workbench.progress import follow
from workbench.remote.probe import Probe, kept
from workbench.remote.probing import Ask, probe
from workbench.remote.ssh import Host
from workbench.variant import Variant

if TYPE_CHECKING:
    import pandas as pd


class Elsewhere(Diagnostics):
    """The part of a `Study` that measures variants where they were not measured before."""

    @property
    def probes(self) -> list[Probe]:
        """What other machines answered, the oldest first."""
        return kept(self.path)

    @check_kinds
    def probe(  # noqa: PLR0913  # a measurement has these; all but two have a default
        self,
        host: str,
        variants: Sequence[Variant | str],
        *,
        seconds: float = 6.0,
        threads: int = 1,
        images: int = 200,
        python: str = "python3",
        config: str = "",
        progress: Progress = True,
    ) -> Probe:
        """Variants, or their ids, measured on another machine by ssh, in turns with the original; the study keeps it.

        `host`: `user@host` or a name of your ssh configuration, which must let you in by a key. `python`: the command
        or path of a Python there that has numpy and onnxruntime; `config`: another configuration file of ssh's.
        `seconds` of timing altogether; `images` of the test split whose answers there are compared with those here.
        `.frame()` has the columns of the portability matrix.

        Raises: `BadValue` for a host that is none; `MeasurementFailed` with what stands in the way: unreachable, no
        key, no Python, what it lacks, a full disk, a connection that was lost early; `Cancelled`.
        """
        asked = Ask(seconds, threads, images)
        return follow(self.submit_probe(Host(host, python, config), variants, asked), progress)

    def submit_probe(self, host: Host, variants: Sequence[Variant | str], ask: Ask) -> Job[Probe]:
        """The same without blocking."""
        if not variants:
            raise BadValue("There is nothing to measure. Give at least one variant of the study, or its id.")
        chosen = [self._own(one) for one in variants]

        def work(report: Reporter) -> Probe:
            others = {one.id: one for one in chosen if one.recipe.steps}
            found = probe([self.baseline, *others.values()], host, ask, report)
            found.keep(self.path)
            return found

        return self._job(f"measurement on {host.name}", work)

    @check_kinds
    def sweep(
        self,
        variant: Variant | str,
        *,
        batch: Sequence[int] = (1, 2, 4, 8, 16, 32),
        threads: Sequence[int] = (1,),
        seconds: float = 1.0,
        limit_ms: float | None = None,
        progress: Progress = True,
    ) -> pd.DataFrame:
        """Throughput of a variant, or its id, over batch sizes and threads: `workbench.diagnosis.sweeping.sweep`."""
        return follow(
            self.submit_sweep(variant, batch=batch, threads=threads, seconds=seconds, limit_ms=limit_ms), progress
        )

    @check_kinds
    def submit_sweep(
        self,
        variant: Variant | str,
        *,
        batch: Sequence[int] = (1, 2, 4, 8, 16, 32),
        threads: Sequence[int] = (1,),
        seconds: float = 1.0,
        limit_ms: float | None = None,
    ) -> Job[pd.DataFrame]:
        """The same without blocking."""
        chosen = self._own(variant)

        def work(report: Reporter) -> pd.DataFrame:
            return sweep(chosen.onnx, batch, threads, seconds=seconds, limit_ms=limit_ms, progress=report)

        return self._job(f"throughput of {chosen.name}", work)
