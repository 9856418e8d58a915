"""What a variant answers otherwise than the original: by class, by image, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workbench.data.batches import arrays
from workbench.errors import BadValue
from workbench.estimate import Estimate, wilson
from workbench.measure.divergence import log_softmax
from workbench.measure.metrics import bootstrap
from workbench.quantization.sensitivity import paired_drop

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data import Split

Array = npt.NDArray[Any]

_BINS = 15  # of the calibration error, as in its source


@dataclass(frozen=True)
class Answers:
    """Logits (N, classes) of the original and of a variant on the same images, their labels (N,), class names.

    Without labels the original's answers stand in for them. Raises: `BadValue` for other shapes.
    """

    original: Array
    variant: Array
    labels: Array
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.original.ndim != 2 or self.variant.shape != self.original.shape:
            raise BadValue(
                f"Outputs of shape {self.original.shape} and {self.variant.shape} are not two classifications of the "
                "same images: both need (N, classes)."
            )

    @cached_property
    def before(self) -> Array:
        """The original's answers (N,)."""
        answers: Array = self.original.argmax(axis=1)
        return answers

    @cached_property
    def after(self) -> Array:
        """The variant's answers (N,)."""
        answers: Array = self.variant.argmax(axis=1)
        return answers

    @property
    def drop(self) -> Estimate:
        """The accuracy that the variant loses, on the same images."""
        return paired_drop(self.before == self.labels, self.after == self.labels)

    def accuracies(self) -> tuple[Estimate, Estimate]:
        """Of the original and of the variant."""
        n = len(self.labels)
        return wilson(int((self.before == self.labels).sum()), n), wilson(int((self.after == self.labels).sum()), n)

    def by_class(self) -> pd.DataFrame:
        """One row a class that occurs, the class that suffers most first.

        Columns: `label`, `name`, `n` images; `before` and `after`, the accuracies with `_low` and `_high`;
        `drop` with its paired interval; `taken_for`, the class that new mistakes name most often, or "".
        """
        import pandas as pd

        rows = [self._of_class(int(label)) for label in np.unique(self.labels)]
        return pd.DataFrame(rows).sort_values(["drop", "label"], ascending=[False, True], ignore_index=True)

    def flips(self) -> pd.DataFrame:
        """One row an image whose answer changed: what is lost comes first, and of that what was surest.

        Columns: `index` in the split, `label`, `before`, `after` (names where the data have them), `change`
        ("lost", "gained", or "other" where both answers are wrong), and the probabilities that the two
        networks gave to their answers.
        """
        import pandas as pd

        where = np.flatnonzero(self.before != self.after)
        lost, gained = self.before[where] == self.labels[where], self.after[where] == self.labels[where]
        change = np.where(lost, "lost", np.where(gained, "gained", "other"))
        frame = pd.DataFrame(
            {
                "index": where,
                "label": [self.name(one) for one in self.labels[where]],
                "before": [self.name(one) for one in self.before[where]],
                "after": [self.name(one) for one in self.after[where]],
                "change": pd.Categorical(change, categories=["lost", "gained", "other"]),
                "confidence_before": _confidence(self.original)[where],
                "confidence_after": _confidence(self.variant)[where],
            }
        )
        order = frame.sort_values(["change", "confidence_before"], ascending=[True, False], ignore_index=True)
        return order.astype({"change": str})

    def pick(self, images: Split, count: int, change: str | None = None) -> tuple[Array, pd.DataFrame]:
        """The first `count` of `flips`, those of one `change` if it is given: their inputs (n, ...) and rows."""
        rows = self.flips()
        rows = (rows if change is None else rows[rows["change"] == change]).head(count)
        return arrays(images.read(rows["index"].tolist())[0]), rows

    def confidence(self) -> pd.DataFrame:
        """Rows `original`, `variant` and `shift`: how sure the networks are of their answers, and whether rightly.

        `confidence` is the mean probability of the answer with its interval, the shift's from differences on
        the same images; `calibration_error` the mean distance between confidence and accuracy over 15 equal
        bins of confidence (Guo et al. 2017, "On Calibration of Modern Neural Networks").
        """
        import pandas as pd

        sure = [_confidence(self.original), _confidence(self.variant)]
        errors = [_calibration_error(c, a == self.labels) for c, a in zip(sure, (self.before, self.after), strict=True)]
        n = len(self.labels)
        values = [_mean(one, n) for one in (*sure, sure[1] - sure[0])]
        return pd.DataFrame(
            {
                "confidence": [one.value for one in values],
                "confidence_low": [one.low for one in values],
                "confidence_high": [one.high for one in values],
                "calibration_error": [*errors, errors[1] - errors[0]],
            },
            index=["original", "variant", "shift"],
        )

    def name(self, label: int) -> str:
        """A class's name, or its number as text."""
        return self.classes[label] if label < len(self.classes) else str(int(label))

    def _of_class(self, label: int) -> dict[str, Any]:
        mine = self.labels == label
        n = int(mine.sum())
        right = [self.before[mine] == label, self.after[mine] == label]
        new = self.after[mine][right[0] & ~right[1]]
        row: dict[str, Any] = {"label": label, "name": self.name(label), "n": n}
        for name, share in (("before", wilson(int(right[0].sum()), n)), ("after", wilson(int(right[1].sum()), n))):
            row |= {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}
        drop = paired_drop(*right)
        taken = self.name(int(np.bincount(new).argmax())) if len(new) else ""
        return row | {"drop": drop.value, "drop_low": drop.low, "drop_high": drop.high, "taken_for": taken}


def _confidence(logits: Array) -> Array:
    """The probability of each image's answer (N,)."""
    sure: Array = np.exp(log_softmax(logits.astype(np.float64)).max(axis=1))
    return sure


def _calibration_error(confidence: Array, right: Array) -> float:
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _mean(values: Array, n: int) -> Estimate:
    return bootstrap(values[:, None], lambda sums: sums[..., 0] / n)
