"""Answers given in this process: each is judged, and the rubric says what is done and what is left."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from workbench.errors import unknown
from workbench.interface.arguments import check_kinds
from workbench.teach.judging import Question, Verdict, answered
from workbench.teach.labs import LABS

if TYPE_CHECKING:
    import pandas as pd

_QUESTIONS = {one.name: one for questions in LABS.values() for one in questions}
#: Wrong answers to each question, and the questions that were answered rightly.
_TRIED: Counter[str] = Counter()
_PASSED: set[str] = set()


@check_kinds
def check(name: str, answer: Any = None) -> Verdict:
    """Judge an answer to a lab's question.

    A wrong answer is told what it usually comes from, where that is known, and a hint that is plainer each time. How
    often one tries does not count.

    Args:
        name: the question's name, such as "tucker-macs".
        answer: a number, a letter in quotes or a function, as the question says.

    Raises: `UnknownName` for a question that there is not.

    >>> check("svd-params", 256 * 512)
    not yet: That is the matrix itself. Two thin ones of rank 32 stand in its place: (256 × 32) and (32 × 512).
    """
    if name not in _QUESTIONS:
        raise unknown("question", name, _QUESTIONS)
    question = _QUESTIONS[name]
    if not answered(answer):
        return Verdict(name, False, f"No answer yet. {question.text}", 0)
    wrong = question.judge(answer)
    if wrong is None:
        _PASSED.add(name)
        return Verdict(name, True, f"{question.points} point{'s' * (question.points > 1)}.", question.points)
    _TRIED[name] += 1
    return Verdict(name, False, wrong or _hint(question), 0)


def _hint(question: Question) -> str:
    """The next hint, the last one again where there are no more."""
    return question.hints[min(_TRIED[question.name], len(question.hints)) - 1]


@check_kinds
def rubric(lab: str | None = None) -> pd.DataFrame:
    """The questions of a lab, or of all: points, and which are answered rightly in this process.

    Raises: `UnknownName` for a lab that there is not.
    """
    import pandas as pd

    if lab is not None and lab not in LABS:
        raise unknown("lab", lab, LABS)
    rows = [
        {
            "lab": name, "question": one.name, "points": one.points, "reached": one.points * (one.name in _PASSED),
            "tried": _TRIED[one.name] + (one.name in _PASSED),
        }
        for name, questions in LABS.items() if lab in (None, name) for one in questions
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["lab", "question", "points", "reached", "tried"])


@check_kinds
def forget() -> None:
    """Begin anew: no question is answered, and hints start from the first."""
    _TRIED.clear()
    _PASSED.clear()
