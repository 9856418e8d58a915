"""The screen of the workbench, for JupyterLab and Voilà. Users call `wb.app()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.study import Study
    from workbench_widgets.screen import Screen

__all__ = ["app"]


def app(study: Study | None = None) -> Screen:
    """The screen on a study, or on the bundled models. Raises: `BadValue` for anything else."""
    from workbench.errors import BadValue  # not above: the dashboard's server needs none of it
    from workbench.study import Study as Kind
    from workbench_widgets.screen import Screen

    if study is not None and not isinstance(study, Kind):
        raise BadValue(f"The screen shows a study, got {type(study).__name__}: wb.app(wb.Study(model, data)).")
    return Screen(study)
