"""The screen of the workbench, for JupyterLab and Voilà. Users call `wb.app()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.study import Study
    from workbench_widgets.screen import Screen

__all__ = ["app"]


def app(study: Study | None = None) -> Screen:
    """The screen on a study, or on the bundled models."""
    from workbench_widgets.screen import Screen  # not above: the dashboard's server needs none of it

    return Screen(study)
