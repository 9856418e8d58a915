"""Certificates of the chosen variant, from what the study kept of every input: nothing runs for them."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.certificate import Certificate
from workbench.diagnosis.certifying import certificate, claim_on, known_samples
from workbench.diagnosis.evaluator import Evaluator
from workbench.errors import BadValue
from workbench.jobs import Reporter
from workbench.report.subject import Subject
from workbench.variant import Variant

#: How likely a certificate may be wrong.
ALPHA = 0.05


@dataclass(frozen=True)
class Proofs:
    """Certificates on the test split, which chose nothing, and on the validation split; `why` says why one is missing.

    `worst`: that no class loses more.
    """

    test: Certificate | None = None
    worst: Certificate | None = None
    validation: Certificate | None = None
    why: str = ""

    def named(self) -> list[tuple[str, Certificate]]:
        """Those that there are, each with the name of its field."""
        found = (("test", self.test), ("worst", self.worst), ("validation", self.validation))
        return [(name, one) for name, one in found if one is not None]


def proofs(about: Subject, variant: Variant) -> Proofs:
    """What can be certified of a variant without running it."""
    margin = about.asked.margin
    if margin is None or not 0 < margin < (1 if about.metric.share else float("inf")):
        return Proofs(why="No limit says how much may be lost, so there is nothing to certify.")
    pair = about.original, variant
    try:
        found = [_proof(pair, split, margin) for split in ("test", "validation") if about.data.get(split) is not None]
        by_class = about.data.task.name == "classification" and about.data["test"].labelled
        worst = _proof(pair, "test", margin, worst_class=True) if by_class else None
    except BadValue as error:  # a figure of all inputs together
        return Proofs(why=str(error))
    if found[0] is None:
        return Proofs(why="It is not kept which single inputs are right. study.certify(variant) runs both and tells.")
    return Proofs(found[0], worst, found[1] if len(found) > 1 else None)


def _proof(
    pair: tuple[Variant, Variant], split: str, margin: float, *, worst_class: bool = False
) -> Certificate | None:
    variant = pair[1]
    evaluator = Evaluator(variant.model, variant.data, True, lambda recipe: None, split)
    claim = claim_on(evaluator, None, margin, ALPHA)
    if known_samples(pair, evaluator, claim.metric.name) is None:
        return None
    return certificate(pair, evaluator, claim, Reporter(), worst_class=worst_class)
