"""A certificate for one variant of a study, from what was measured input by input, or by running both artefacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from workbench.certificate import Answer, Certificate
from workbench.errors import BadValue, unknown
from workbench.measure.certify import Claim, Pair, Verdict, certify
from workbench.measure.evaluation import VALIDATION
from workbench.tasks.unlabelled import AGREEMENT, NEARNESS

if TYPE_CHECKING:
    from workbench.diagnosis.evaluator import Evaluator
    from workbench.jobs import Reporter
    from workbench.measure.paired import Sample
    from workbench.variant import Variant


def claim_on(evaluator: Evaluator, metric: str | None, margin: float, alpha: float) -> Claim:
    """The claim on the metric of this name among those of the study's task; None takes what decides there.

    Raises: `UnknownName`; `BadValue` for a metric that has no value for each input, as `Claim`.
    """
    task = evaluator.task
    offered = task.metrics if _labelled(evaluator) else (AGREEMENT if task.by_class else NEARNESS,)
    known = {one.name: one for one in offered}
    if metric is not None and metric not in known:
        raise unknown("metric", metric, known)
    chosen = known[metric] if metric is not None else offered[0]
    if chosen.combine is not None or chosen.whole:
        single = [repr(one.name) for one in offered if one.combine is None and not one.whole]
        raise BadValue(
            f"{chosen.word} is one figure of all inputs together, and a certificate needs a value of each. "
            + (f"Give metric={' or '.join(single)}, or a" if single else "Give a")
            + " study whose metric= returns one value an input."
        )
    return Claim(chosen, margin, alpha)


def certificate(
    pair: tuple[Variant, Variant], evaluator: Evaluator, claim: Claim, report: Reporter, *, worst_class: bool
) -> Certificate:
    """Whether the claim holds for the second of two variants against the first: see `Study.certify`."""
    variant = pair[1]
    groups = _classes(evaluator) if worst_class else np.zeros(len(evaluator.split), np.int64)
    known = known_samples(pair, evaluator, claim.metric.name)
    files = [one.onnx if known is None else one.artefact for one in pair]  # what is known needs no file
    found = certify(Pair(files[0], files[1], evaluator.split, _labelled(evaluator), known), claim, groups, report)
    answer, told = joint(found)
    names = variant.data.classes
    return Certificate(
        variant=variant.name,
        metric=claim.metric.word,
        share=claim.metric.share,
        unit=claim.metric.unit,
        split=evaluator.split_name,
        margin=claim.margin,
        alpha=claim.alpha,
        answer=answer,
        loss=told.loss,
        at_least=told.at_least,
        at_most=told.at_most,
        inputs=sum(one.inputs for one in found),
        more=_more(found, answer),
        class_name="" if not worst_class else names[told.group] if told.group < len(names) else str(told.group),
    )


def joint(verdicts: list[Verdict]) -> tuple[Answer, Verdict]:
    """What holds for all groups, and the one that fares worst."""
    answers = {one.answer for one in verdicts}
    worst = max(verdicts, key=lambda one: (one.answer is Answer.FAILS, one.at_most))
    if Answer.FAILS in answers:
        return Answer.FAILS, worst
    return (Answer.PASSES if answers == {Answer.PASSES} else Answer.UNDECIDED), worst


def _more(verdicts: list[Verdict], answer: Answer) -> float:
    """How many more inputs of all groups are needed, if they come as they came."""
    if answer is not Answer.UNDECIDED:
        return 0.0
    seen = sum(one.inputs for one in verdicts)
    return max(one.more * seen / max(one.inputs, 1) for one in verdicts)


def known_samples(pair: tuple[Variant, Variant], evaluator: Evaluator, metric: str) -> tuple[Sample, Sample] | None:
    """What the study has measured on the evaluator's split, where it is known of each input; else None."""
    name = {"validation": f"{VALIDATION}{metric}", "test": metric}.get(evaluator.split_name, "")
    one, other = (each.samples.get(name) for each in pair)
    if one is None or other is None or not (one.has_marks and other.has_marks):
        return None
    return (one, other) if one.n == other.n == len(evaluator.split) else None


def _labelled(evaluator: Evaluator) -> bool:
    return evaluator.split.labelled and evaluator.task.name != "none"


def _classes(evaluator: Evaluator) -> npt.NDArray[np.int64]:
    labels = evaluator.labels
    if labels is None:
        raise BadValue(
            f"worst_class=True needs one class an input, and {evaluator.data.name} is data for "
            f"{evaluator.task.title}. Leave it out."
        )
    return labels.astype(np.int64)
