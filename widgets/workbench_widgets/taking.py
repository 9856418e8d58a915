"""What is made when it is asked for: the table of variants as a file, and the study frozen into one page."""

from __future__ import annotations

import io
from collections.abc import Callable

from workbench.errors import BadValue
from workbench_widgets import frozen, rows
from workbench_widgets.exporting import CSV, PAGE, PARQUET, PIECE, check_part
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


def _csv(state: State) -> bytes:
    return frozen.table(state).to_csv(index=False).encode()


def _parquet(state: State) -> bytes:
    stream = io.BytesIO()
    frozen.table(state).to_parquet(stream, index=False)
    return stream.getvalue()


def _page(state: State) -> bytes:
    return frozen.page(state).encode()


MAKERS: dict[str, Callable[[State], bytes]] = {CSV: _csv, PARQUET: _parquet, PAGE: _page}
