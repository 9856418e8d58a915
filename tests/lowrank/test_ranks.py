"""What may be written for a rank, and what is refused with which fix."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from workbench.errors import BadValue
from workbench.lowrank.ranks import Rule, freeze, parse, rounded, thaw


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        (0.5, Rule("fraction", 0.5)),
        (1.0, Rule("fraction", 1.0)),
        (1, Rule("explicit", ranks=(1,))),
        (16, Rule("explicit", ranks=(16,))),
        ((16, 24), Rule("explicit", ranks=(16, 24))),
        ((0.5, 24), Rule("explicit", ranks=(0.5, 24))),
        ("evbmf", Rule("evbmf")),
        ("energy:0.9", Rule("energy", 0.9)),
        ("macs:0.25", Rule("macs", 0.25)),
        ("params:0.5", Rule("params", 0.5)),
    ],
)
def test_rules(written: Any, rule: Rule) -> None:
    assert parse(freeze(written)) == rule


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        (50.0, "for 50 % write 0.5, for rank 50 write 50"),
        (0, "at least 1"),
        (-3, "at least 1"),
        (0.0, "above 0"),
        (float("nan"), "above 0"),
        (True, "it must be"),
        (None, "it must be"),
        ("50%", "write the number 0.5 without quotes"),
        ("0.5", "write the number 0.5 without quotes"),
        ("energy:90", "for 90 % write 0.9"),
        ("macs:lots", "'macs:0.5'"),
        ("evbmf:2", "it must be"),
        ("biggest", "it must be"),
        ((), "one number for each mode"),
        (("a", 2), "one number for each mode"),
        ({}, "names no layer"),
        ({"conv": "macs:0.5"}, "shared out over all layers"),
    ],
)
def test_refusals_name_the_fix(written: Any, fix: str) -> None:
    with pytest.raises(BadValue) as caught:
        parse(freeze(written))
    assert fix in str(caught.value)


def test_a_mapping_prefers_names_to_globs() -> None:
    rule = parse(freeze({"blocks.*": 0.25, "blocks.1.conv": [8, 4], "head": "evbmf"}))
    assert rule.of("blocks.1.conv") == Rule("explicit", ranks=(8, 4))
    assert rule.of("blocks.0.conv") == Rule("fraction", 0.25)
    assert rule.of("stem") is None


def test_frozen_values_hash_and_go_through_json() -> None:
    frozen = freeze({"a": [8, 4], "b": np.int64(3), "c": np.float64(0.5)})
    assert hash(frozen) == hash(freeze({"c": 0.5, "b": 3, "a": (8, 4)}))
    again = freeze(json.loads(json.dumps(thaw(frozen))))
    assert again == frozen
    assert type(thaw(frozen)) is dict


@pytest.mark.parametrize(
    ("rank", "multiple", "expected"), [(7.4, 1, 7), (0.2, 1, 1), (13, 8, 16), (3, 8, 8), (30, 8, 30), (99, 8, 30)]
)
def test_rounding(rank: float, multiple: int, expected: int) -> None:
    assert rounded(rank, 30, multiple) == expected
