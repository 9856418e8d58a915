"""Which layers a name, a glob or a list means."""

from __future__ import annotations

import pytest

from workbench.errors import UnknownName
from workbench.settings import select

NAMES = ["conv[0]", "conv[1]", "conv0", "a*", "ab", "!odd", "x.y"]


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("conv[0]", ["conv[0]"]),  # the layer of that name, and not 'conv0', which it means as a glob
        ("conv[[]?]", ["conv[0]", "conv[1]"]),
        ("conv?", ["conv0"]),
        ("a*", ["a*"]),
        ("[a]*", ["a*", "ab"]),
        ("!odd", ["!odd"]),
        ("!conv[0]", [name for name in NAMES if name != "conv[0]"]),
        (("conv*", "!conv[1]"), ["conv[0]", "conv0"]),
        (("!conv[[]*", "!x.*"), ["conv0", "a*", "ab", "!odd"]),
        ("*", NAMES),
    ],
)
def test_names_come_before_globs(pattern: str, chosen: list[str]) -> None:
    assert list(select(pattern, NAMES)) == chosen


@pytest.mark.parametrize("pattern", ["conv[2]", "!conv[2]", ("conv0", "none")])
def test_what_matches_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(UnknownName, match=r"no layer named '(conv\[2\]|none)'"):
        select(pattern, NAMES)
