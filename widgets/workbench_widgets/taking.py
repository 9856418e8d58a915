"""What is made when it is asked for: the table of variants as a file, the report on the study, its model card."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import pandas as pd

from workbench.errors import BadValue
from workbench.report import content
from workbench_widgets import rows, search_state, wishes
from workbench_widgets.exporting import CARD, CSV, PARQUET, PIECE, REPORT, check_part
from workbench_widgets.store import State


class Made:
    """Files that are made of the state when their first part is asked for, and kept until another one is."""

    def __init__(self) -> None:
        self._name, self._content = "", b""

    def piece(self, state: State, file: str, offset: int, length: int) -> bytes:
        """A part of the file. Raises `BadValue` for another, out of turn, or while nothing is measured."""
        check_part(offset, length)
        if file not in MAKERS:
            raise BadValue(f"{file!r} is none of the files that can be made here: {', '.join(MAKERS)}.")
        if offset == 0:
            if state.study is None or rows.everything(state).empty:
                raise BadValue("Nothing is measured yet, so there is nothing to take away.")
            self._name, self._content = file, MAKERS[file](state)
        if file != self._name:
            raise BadValue(f"{file} is not at hand any more. Ask for it again.")
        return self._content[offset : offset + min(length, PIECE)]


def table(state: State) -> pd.DataFrame:
    """What is shown, every figure with its interval: `Study.frame()` in its own units, and what was measured elsewhere.

    Without samples, which paired comparison alone reads.
    """
    frame = rows.everything(state)
    return pd.DataFrame({name: frame[name].to_list() for name in frame if name != "feasible"})


def _csv(state: State) -> bytes:
    return table(state).to_csv(index=False).encode()


def _parquet(state: State) -> bytes:
    stream = io.BytesIO()
    table(state).to_parquet(stream, index=False)
    return stream.getvalue()


def _report(state: State, form: str) -> bytes:
    """Of the variants that are shown, about the chosen one, or the best by what the last search was asked for."""
    study, found = state.study, [state.variant(str(one)) for one in rows.everything(state)["id"]]
    assert study is not None  # whoever asks for it sees one
    chosen = state.variant(state.selected)
    search = search_state.of(state)
    wish = search.wish if search is not None and not search.problem else None
    return content(
        [one for one in found if one is not None],
        form,
        chosen=chosen if chosen is not None and chosen.recipe.steps else None,
        minimise=wish.minimise if wish is not None else "latency_ms",
        where=wishes.where(wish, study.task.principal) if wish is not None else "",
    ).encode()


MAKERS: dict[str, Callable[[State], bytes]] = {
    CSV: _csv, PARQUET: _parquet, REPORT: partial(_report, form=".html"), CARD: partial(_report, form=".md"),
}  # fmt: skip
