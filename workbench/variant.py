"""`Variant`: a model with a recipe applied, its artefact, and what was measured on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import BadFile, unknown
from workbench.estimate import Estimate
from workbench.files.content import problem
from workbench.files.disk import told
from workbench.interface.arguments import check_kinds
from workbench.recipe import Recipe
from workbench.studies.naming import Names

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from workbench.cost.network import Network
    from workbench.data import Data
    from workbench.measure.paired import Sample
    from workbench.models import Model


@dataclass(frozen=True)
class Finished:
    """What a study keeps of a variant: its recipe, its figures, its files. It knows neither network nor data."""

    id: str
    recipe: Recipe
    estimates: Mapping[str, Estimate] = field(repr=False)
    artefact: Path = field(repr=False)  # where `onnx` is
    weights: Path = field(repr=False)  # where `state` is
    notes: tuple[str, ...] = ()  # what a user should know before using it
    created: str = ""  # ISO 8601, UTC
    verdict: str = ""  # measured against predicted speed, and why, in a sentence
    machine: str = ""  # what it was measured on: processor and fingerprint
    #: What a paired comparison needs of each figure, by its name, as `Sample.write` gives it.
    written: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: What it was made from and with: digests, settings, versions. Empty where an earlier version made it.
    made: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: What making and measuring it took, as `Meter.taken` gives it; nothing where another process did it.
    taken: Mapping[str, float] = field(default_factory=dict, repr=False, compare=False)
    #: Its figures on devices, as `latency_ms on Pixel 8`: see `workbench.devices`.
    elsewhere: Mapping[str, Estimate] = field(default_factory=dict, repr=False, compare=False)
    names: Names = field(default_factory=Names, repr=False, compare=False)  # those of the study's variants
    #: Why a file is not to be used, "" where it may; the study fetches one that is elsewhere.
    problem: Callable[[Path], str] = field(default=problem, repr=False, compare=False)

    @check_kinds
    def __getitem__(self, name: str) -> Estimate:
        known = {**self.estimates, **self.elsewhere}
        if name not in known:
            raise unknown(f"figure of {self.name}", name, known)
        return known[name]

    @cached_property
    def samples(self) -> dict[str, Sample]:
        """What each figure was on the very inputs, for paired comparison; none in a study of an earlier version.

        Raises: `BadFile` where it is damaged.
        """
        from workbench.measure.paired import Sample

        return {name: Sample.read(text) for name, text in self.written.items()}

    @property
    def name(self) -> str:
        """The recipe in a few words, with what differs from others like it; or what `Study.rename` gave it."""
        return self.names.name(self.id) or self.recipe.name

    @property
    def tags(self) -> tuple[str, ...]:
        """What `Study.tag` put on it."""
        return self.names.label(self.id).tags

    @property
    def archived(self) -> bool:
        """Whether `Study.archive` put it aside."""
        return self.names.label(self.id).archived

    @property
    def annotation(self) -> str:
        """What `Study.annotate` wrote on it."""
        return self.names.label(self.id).text

    @property
    def onnx(self) -> Path:
        """The artefact that was measured. Raises: `BadFile` where it is missing, or its content is another."""
        return self._checked(self.artefact)

    @property
    def state(self) -> Path:
        """Safetensors: the rewritten module's structure and weights. Raises: as `onnx`."""
        return self._checked(self.weights)

    @property
    def whole(self) -> bool:
        """Whether both files are there with the content that was measured."""
        return not self.problem(self.artefact) and not self.problem(self.weights)

    def _checked(self, file: Path) -> Path:
        wrong = self.problem(file)
        if wrong:
            raise BadFile(
                f"The file {file} of the variant {self.name} {wrong}, so it is not used. Run its recipe again to get "
                "it back: study.run(variant.recipe)."
            )
        return file

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.id})", *(f"  {k} {v}" for k, v in {**self.estimates, **self.elsewhere}.items())]
        if self.verdict:
            lines.append(f"  verdict: {self.verdict}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


@dataclass(frozen=True, kw_only=True)
class Variant(Finished):
    """One finished variant of a study. `variant["accuracy"]` is an `Estimate`.

    >>> variant = study.run(wb.Quantize("int8"), progress=False)
    >>> variant["macs"].value == study.baseline["macs"].value
    True
    >>> variant["accuracy_change"].n  # the images that both answered
    20
    """

    model: Model = field(repr=False)
    data: Data = field(repr=False)

    @cached_property
    def module(self) -> nn.Module:
        """The rewritten torch module. Steps such as int8 exist only in the artefact."""
        from workbench.models.structure import restore

        return restore(self.state)

    @cached_property
    def network(self) -> Network:
        """The operations and shapes as they became: `wb.cost(variant)` reads them."""
        from workbench.building.build import network_of

        return network_of(self.module, self.model, self.recipe)

    @check_kinds
    def profile(self, *, batch: int = 1, threads: int = 1, runs: int = 50) -> pd.DataFrame:
        """Time of every operator in ONNX Runtime, mapped to layers. See `workbench.measure.profiler.profile`."""
        from workbench.measure.profiler import profile

        with told(self.artefact.parent, f"Timing the operators of {self.name}"):
            return profile(self.onnx, batch=batch, threads=threads, runs=runs)

    def layers(self) -> pd.DataFrame:
        """One row an operation, in execution order.

        Columns: layer, kind, input, output, macs, params, memory_access_bytes, bits.
        """
        import pandas as pd

        rows = [
            (x.name, x.kind, x.input, x.output, x.macs, x.params, x.memory_access_bytes, x.bits)
            for x in self.network.layers
        ]
        columns = ["layer", "kind", "input", "output", "macs", "params", "memory_access_bytes", "bits"]
        return pd.DataFrame(rows, columns=columns)
