"""What a report says in sentences: the answer, how it was chosen, how it was measured, where the claim ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import workbench
from workbench.data import Split
from workbench.report.classes import Classes
from workbench.report.proofs import ALPHA, Proofs
from workbench.report.subject import Subject
from workbench.report.words import count, verdict

#: Classes with fewer inputs than this are named: their intervals are wide.
FEW = 100


def answer(about: Subject) -> str:
    """What came out, in one sentence with its intervals."""
    if about.chosen is not None:
        one = about.chosen
        if not one.recipe.steps:
            return f"The original stays as it is: {about.model.name}."
        said = verdict(one, about.original)
        return f"{one.name}: {_small(said)}" if about.named else f"Recommended: {one.name}. {said}"
    tried = len(about.variants) - 1
    if not tried:
        return "Only the original is measured, so there is nothing to recommend yet."
    return f"None of {count(tried, 'variant', 'variants')} is recommended: {_none_keeps(about)}"


def keeps(about: Subject) -> str:
    """Whether the chosen variant keeps to what was asked."""
    if about.chosen is None or not about.chosen.recipe.steps:
        return ""
    where = f"on the {inputs(about, choosing_split(about))}"
    missed = about.asked.missed(about.chosen)
    if missed:
        return f"It does not keep to what was asked ({'; '.join(missed)}), {where}."
    return f"It keeps to what was asked: {'; '.join(about.asked.clauses())}, {where}."


def chosen_how(about: Subject) -> str:
    """How the variant came to be the one that the report is about."""
    where = inputs(about, choosing_split(about))
    rule = f"{about.asked.aim} among those that keep to every limit, as measured on the {where}"
    if about.named:
        same = about.ruled is not None and about.chosen is not None and about.ruled.id == about.chosen.id
        other = "the same one" if same else about.ruled.name if about.ruled is not None else "none"
        return f"Named by whoever made this report. By rule it would be {other}: {rule}."
    if about.asked.chose_on_test:
        return f"Chosen by rule: {rule}. There is no validation split, so the test figures flatter what was chosen."
    return f"Chosen by rule: {rule}. The {inputs(about, 'test')} chose nothing; they only report."


def choosing_split(about: Subject) -> str:
    """The split that choices read."""
    return "test" if about.asked.chose_on_test else "validation"


def inputs(about: Subject, split: str) -> str:
    """`2,000 validation images`."""
    found: Split | None = about.data.get(split)
    if found is None:
        return f"{split} inputs"
    figure = about.metric.name if split == "test" else about.asked.figure
    known = about.original.estimates.get(figure)
    number = len(found) if known is None else known.n
    return f"{number:,} {split} {'images' if found.pictures else 'inputs'}"


def measured(about: Subject) -> list[tuple[str, str]]:
    """How the figures came about: a heading and a sentence each."""
    chosen = about.chosen or about.original
    task = about.data.task
    judged = f"On the {inputs(about, 'test')} by the exported ONNX file in ONNX Runtime, never by a simulation. "
    return [
        ("Task", f"{task.title[:1].upper()}{task.title[1:]}, judged by {about.metric.word}."),
        ("Quality", judged + "Changes are counted on the same inputs, and their 95 % intervals are of the differences "
                             "(Tango's for shares of inputs, else a paired bootstrap)."),
        ("Speed", "One input at a time on one thread, in a process of its own, after warming up, in turns with the "
                  f"original. The ratio is taken round by round ({chosen['speedup'].n:,} for the chosen file); its "
                  "95 % interval holds chance and where in memory the files come to lie."),
        ("Counted", "MACs, parameters, memory access and file sizes are counted: they have no interval. Predicted "
                    "speed and energy come from a model and are no measurement."),
        ("Machine", chosen.machine or "not recorded"),
        ("Identity", f"Model {about.model.hash}, data {about.data.hash}, variant {chosen.id}, measured "
                     f"{_day(chosen.created)}."),
        ("Made by", f"workbench {workbench.__version__} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."),
    ]  # fmt: skip


def limits(about: Subject, classes: Classes, proved: Proofs) -> list[str]:
    """Where the claim ends, a sentence each."""
    return [*_of_inputs(about, classes, proved), *_of_choice(about), *_of_machine(about)]


def _of_inputs(about: Subject, classes: Classes, proved: Proofs) -> Iterator[str]:
    yield (
        f"The figures are of inputs like the {inputs(about, 'test')} of {about.data.name}. What other inputs do, such "
        "as another camera's or of other years, was not measured."
    )
    yield (
        f"Other properties than {about.metric.word} were not looked at: robustness to attacks, fairness between groups "
        "of people, how well the network knows when it is wrong."
    )
    if len(classes.rows) > 1:
        number = len(classes.rows)
        yield (
            f"Each of the {number} intervals by class holds its own truth in 95 of 100 cases; of {number} together one "
            "may well miss. The certificate over all classes is the statement that holds for them jointly."
        )
    few = [row.name for row in classes.rows if row.n < FEW]
    if few:
        named = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        yield f"Fewer than {FEW} test inputs belong to {named}: little is known of these classes."
    if proved.named():
        yield f"A certificate is wrong with probability {ALPHA:g} at most, for inputs drawn as those that it looked at."
    elif proved.why:
        yield f"There is no certificate. {proved.why}"


def _of_choice(about: Subject) -> Iterator[str]:
    tried = len(about.variants) - 1
    if about.named and tried > 1:
        yield (
            f"{tried} variants were tried. If the one that is named was picked by its test figures, they flatter it; "
            "a choice on the validation split would not."
        )
    elif about.asked.chose_on_test and tried > 1:
        yield (
            f"The best of {tried} variants on the test split looks better there than it is. A validation split would "
            "tell."
        )


def _of_machine(about: Subject) -> Iterator[str]:
    yield (
        "Speed was measured on the machine named here alone. Another processor, another runtime, more threads or "
        "larger batches give other ratios; the table of devices is a prediction without an interval."
    )
    away = sum(one.machine != about.original.machine for one in about.variants)
    if away:
        yield (
            f"{count(away, 'variant was', 'variants were')} timed on another machine than the original: their "
            "milliseconds are converted by their speed-up there."
        )


def _none_keeps(about: Subject) -> str:
    surely = "surely faster" if about.asked.goal.minimise == "latency_ms" else "smaller"
    return f"none keeps to what was asked ({'; '.join(about.asked.clauses())}) and is {surely} than the original."


def _small(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _day(created: str) -> str:
    return f"on {created.replace('T', ' ')[:16]} UTC" if created else "on a day that is not recorded"


def today() -> str:
    """The day, as people write it."""
    return f"{datetime.now(UTC):%d %B %Y}".lstrip("0")
