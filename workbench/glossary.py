"""The words of the field and of the screen, each explained once in `glossary.toml`: for pages, labs and the screen."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import unknown
from workbench.interface.arguments import check_kinds


@dataclass(frozen=True)
class Term:
    """A word with its explanation in a sentence or two, and other words that the screen has for it."""

    name: str
    text: str
    shown: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What a link to it ends in, such as `pareto-front`."""
        return re.sub(r"[^\w]+", "-", self.name.lower()).strip("-")



def _read() -> tuple[Term, ...]:
    found = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["term"]
    return tuple(Term(one["name"], one["text"], tuple(one.get("shown", ()))) for one in found)


_TERMS = _read()
#: Every term by its key.
TERMS: dict[str, Term] = {term.key: term for term in _TERMS}
_SHOWN = {word.lower(): term for term in _TERMS for word in (term.name, *term.shown)}


@check_kinds
def about(word: str) -> str:
    """What a word of the screen means; a figure's change and its value on validation are told by the figure's.

    Raises: `UnknownName` for a word without an explanation.
    """
    found = explained(word)
    if found is None:
        raise unknown("term", word, [term.name for term in _TERMS])
    return found


def explained(word: str) -> str | None:
    """As `about`; None for a word without an explanation, such as the name of a metric of the user's own."""
    plain = word.lower().strip()
    if plain in _SHOWN:
        return _SHOWN[plain].text
    for start, term in (("change of ", "paired-change"), ("validation ", "validation")):
        if plain.startswith(start):
            rest = explained(plain.removeprefix(start))
            return rest and f"{rest} {TERMS[term].text}"
    return None


def words() -> list[str]:
    """Every word that is explained, as the screen and the pages have it."""
    return [word for term in _TERMS for word in (term.name, *term.shown)]
