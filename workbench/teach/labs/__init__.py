"""The labs, one file each: their questions, with what is right computed from their own figures."""

from __future__ import annotations

from workbench.teach.judging import Question
from workbench.teach.labs import capstone, distillation, filters, going_wrong, low_rank

#: Every lab's questions, by its name.
LABS: dict[str, tuple[Question, ...]] = {
    "low-rank": low_rank.QUESTIONS,
    "filters": filters.QUESTIONS,
    "distillation": distillation.QUESTIONS,
    "going-wrong": going_wrong.QUESTIONS,
    "capstone": capstone.QUESTIONS,
}
