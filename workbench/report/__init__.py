"""`wb.report(study, "report.html")`: what was found, for whoever decides on it; and the same as a model card."""

from workbench.interface.callable_module import make_callable
from workbench.report.writing import FORMS, content, report

__all__ = ["FORMS", "content", "report"]

make_callable(__name__, "report")
