"""Questions whose answer is something that was made: a variant, a certificate, an exported folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workbench.errors import WorkbenchError
from workbench.teach.judging import Question, kind_of


@dataclass(frozen=True)
class Demand:
    """What is asked of the thing: whether it is `met`, and what is said where it is not; `{}` stands for its kind."""

    met: Callable[[Any], bool]
    says: str


@dataclass(frozen=True, kw_only=True)
class Made(Question):
    """Something that the student made. Its demands are looked at one after the other; the first that is not met is "
    "told.

    The first demand asks for the kind of thing, so that those behind it know what they look at.
    """

    demands: tuple[Demand, ...]

    def judge(self, answer: Any) -> str | None:
        """As for every question."""
        for one in self.demands:
            said = one.says.format(kind_of(answer))
            try:
                met = one.met(answer)
            except Exception as error:  # noqa: BLE001  # what was made may be damaged in any way: it does not meet this
                return f"{said} ({error})" if isinstance(error, WorkbenchError) else said
            if not met:
                return said
        return None
