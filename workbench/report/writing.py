"""`report`: what the user hands over, read; the page or the card, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import BadValue, shown
from workbench.files.disk import keep_on_disk, told, workspace
from workbench.interface.neutral import neutrally
from workbench.report.card import card
from workbench.report.page import page
from workbench.report.subject import Subject, subject

if TYPE_CHECKING:
    from workbench.study import Study
    from workbench.variant import Variant

#: What is written, by the end of the file's name.
FORMS: dict[str, Callable[[Subject], str]] = {".html": page, ".htm": page, ".md": card}


@neutrally
def report(  # what a report says follows from these; all but the first two have a default
    what: Study | Sequence[Variant],
    path: str | Path,
    *,
    chosen: Variant | str | None = None,
    minimise: str = "latency_ms",
    where: str | Sequence[str] = "",
    title: str = "",
) -> Path:
    """Write a report on a study, or on variants of it with the original among them: `study.baseline`.

    Nothing is measured for it. A `.html` is one page for a manager or a reviewer that fetches nothing: what was asked,
    the front, the chosen variant and what it costs in each class, certificates, layers, the verdict, devices, how it
    was measured and where the claim ends. A `.md` is a model card as on the Hugging Face hub, with its YAML header.

    Args:
        what: the study, or variants.
        path: the file, replaced where there is one; folders on the way are made.
        chosen: the variant that it is about, its id or its name. None: by what was asked, on the validation split, the
            best that keeps to every limit and surely gains; where none does, the report says so.
        minimise: what was to be small, as in `Study.search`.
        where: the limits, as in `Study.search`; without one at most a hundredth of a share is lost.
        title: the heading; else the names of model and data.

    Returns the file. Raises: `BadValue` for variants of another study or none, `UnknownName`, `StorageFailed`.

    >>> wb.report(study, "report.html").stat().st_size > 0
    True
    """
    file = _file(path)
    text = content(what, file.suffix, chosen=chosen, minimise=minimise, where=where, title=title)
    with told(file.parent, "Writing the report"):
        file.parent.mkdir(parents=True, exist_ok=True)
        with workspace(file.parent) as staging:
            made = staging / file.name
            made.write_text(text, encoding="utf-8")
            keep_on_disk(made)
            made.replace(file)
    return file


def content(  # as `report`
    what: Study | Sequence[Variant],
    form: str = ".html",
    *,
    chosen: Variant | str | None = None,
    minimise: str = "latency_ms",
    where: str | Sequence[str] = "",
    title: str = "",
) -> str:
    """The text of a report in a form of `FORMS`. Raises: as `report`."""
    return FORMS[form.lower()](subject(what, chosen, minimise, where, title))


def _file(path: str | Path) -> Path:
    if not isinstance(path, (str, Path)) or not str(path):
        raise BadValue(f"The report's file is {shown(path)}. Give a name such as 'report.html'.")
    file = Path(path)
    if file.suffix.lower() not in FORMS:
        raise BadValue(f"{file} ends in neither .html, for a page, nor .md, for a model card. Give such a name.")
    if file.is_dir():
        raise BadValue(f"{file} is a folder. Give the name of a file in it, such as {file / 'report.html'}.")
    return file
