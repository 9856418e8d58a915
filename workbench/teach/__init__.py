"""Teaching: questions of the labs, judged with hints that explain a wrong answer by its likely mistake.

>>> wb.teach.check("svd-params", 256 * 32 + 32 * 512)
right: 1 point.
"""

from __future__ import annotations

from workbench.teach.session import check, forget, rubric

__all__ = ["check", "forget", "rubric"]
