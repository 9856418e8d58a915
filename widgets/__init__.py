"""The screen of the workbench, for JupyterLab and Voilà. Users call `wb.app()`."""

from __future__ import annotations

from workbench.study import Study
from workbench_widgets.screen import Screen

__all__ = ["Screen", "app"]


def app(study: Study | None = None) -> Screen:
    """The screen on a study, or on the bundled models."""
    return Screen(study)
