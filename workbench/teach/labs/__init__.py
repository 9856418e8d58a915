"""The labs, one file each: their questions, with what is right computed from their own figures."""

from __future__ import annotations

from workbench.teach.judging import Question
from workbench.teach.labs import (
    capstone,
    costs,
    distillation,
    filters,
    going_wrong,
    low_rank,
    pruning,
    quantization,
)

#: Every lab's questions, by its name.
LABS: dict[str, tuple[Question, ...]] = {
    "costs": costs.QUESTIONS,
    "low-rank": low_rank.QUESTIONS,
    "filters": filters.QUESTIONS,
    "pruning": pruning.QUESTIONS,
    "quantization": quantization.QUESTIONS,
    "distillation": distillation.QUESTIONS,
    "going-wrong": going_wrong.QUESTIONS,
    "capstone": capstone.QUESTIONS,
}
