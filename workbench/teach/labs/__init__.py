"""The labs, one file each: their questions, with what is right computed from their own figures."""

from __future__ import annotations

from workbench.teach.judging import Question
from workbench.teach.labs import costs, filters, low_rank, pruning, quantization

#: Every lab's questions, by its name.
LABS: dict[str, tuple[Question, ...]] = {
    "costs": costs.QUESTIONS,
    "low-rank": low_rank.QUESTIONS,
    "filters": filters.QUESTIONS,
    "pruning": pruning.QUESTIONS,
    "quantization": quantization.QUESTIONS,
}
