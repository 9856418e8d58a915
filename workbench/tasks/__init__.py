"""What networks are for: how answers are judged, which losses train them, and the words for it, one file a task."""

from __future__ import annotations

from workbench.tasks.metric import Metric
from workbench.tasks.recognition import METRICS, TASKS, recognise, seen_of
from workbench.tasks.task import Seen, Task

__all__ = ["METRICS", "TASKS", "Metric", "Seen", "Task", "recognise", "seen_of"]
