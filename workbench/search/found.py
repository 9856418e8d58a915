"""What a search found: variants best first, the predicted front, and why the best is what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    import pandas as pd

    from workbench.certificate import Certificate
    from workbench.recipe import Recipe
    from workbench.variant import Variant


@dataclass(frozen=True)
class Promise:
    """A point of the predicted front: a recipe that is not built, and what it is expected to come to.

    `value` is of what is minimised, `loss` of what the study is judged by; `gap`: how far at most from the optimum of
    the model, as a share; `speedup`: how many times as fast as the original it is expected to be measured.
    """

    recipe: Recipe
    value: float
    loss: float
    gap: float
    speedup: float


@dataclass(frozen=True)
class Found(Sequence["Variant"]):
    """Variants, those that keep to every limit first, of these the smallest; `found[0]` is the best.

    `kept` are those that keep to the limits; `certificate` is the best one's, on the validation split that it was
    chosen on, and `confirmation` that of the test split, which chose nothing; `why` is `frame`-like: one row a layer of
    the best, see `Study.search`; `notes` what should be known about the search.
    `expected`: by id how many times as fast as the original each was expected to be, from the prediction and what was
    measured until then.
    """

    variants: tuple[Variant, ...]
    kept: int
    promises: tuple[Promise, ...] = ()
    expected: Mapping[str, float] = field(default_factory=dict, repr=False)
    certificate: Certificate | None = None
    confirmation: Certificate | None = None
    why: pd.DataFrame | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Variant | None:
        """The best that keeps to every limit; None where none does."""
        return self.variants[0] if self.kept else None

    @property
    def proofs(self) -> tuple[Certificate, ...]:
        """What is proved of the best: on the split that it was chosen on, and on the one that chose nothing."""
        return tuple(one for one in (self.certificate, self.confirmation) if one is not None)

    @overload
    def __getitem__(self, index: int) -> Variant: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Variant]: ...

    def __getitem__(self, index: int | slice) -> Variant | Sequence[Variant]:
        return self.variants[index]

    def __len__(self) -> int:
        return len(self.variants)

    def __iter__(self) -> Iterator[Variant]:
        return iter(self.variants)

    def __str__(self) -> str:
        lines = [f"{len(self.variants)} variants, {self.kept} within the limits"]
        lines += [f"best: {self.best.name} ({self.best.id})"] if self.best is not None else []
        lines += [str(one) for one in self.proofs]
        return "\n".join([*lines, *self.notes])
