"""Teaching: questions of the labs, judged with hints that explain a wrong answer by its likely mistake."""

from __future__ import annotations

from workbench.teach.session import check, forget, rubric

__all__ = ["check", "forget", "rubric"]
