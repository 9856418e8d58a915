"""`workbench lab init`: the labs as a course's folder, for nbgrader, with slides and a leaderboard."""

from workbench.teach.course.laying import lay
from workbench.teach.course.notebooks import Lab, graded, labs, slides

__all__ = ["Lab", "graded", "labs", "lay", "slides"]
