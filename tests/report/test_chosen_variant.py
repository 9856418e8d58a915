"""Which variant a report is about: what was asked decides, on the validation split, and gains must be sure."""

from __future__ import annotations

import by_hand as make
import pytest

import workbench as wb
from workbench.errors import BadValue, UnknownName
from workbench.report.sentences import answer, chosen_how, keeps
from workbench.report.subject import Subject, subject
from workbench.variant import Variant

SAFE = make.variant(wb.SVD(0.9), (2.0, 1.9, 2.1), validation=0.995, test=make.wrong_on(*range(40)), share=0.9)
FAST = make.variant(wb.SVD(0.5), (4.0, 3.9, 4.1), validation=0.985, share=0.5)  # better on the test split than SAFE
UNSURE = make.variant(wb.SVD(0.8), (3.0, 0.9, 5.0), share=0.8)
ALL = [make.original(), SAFE, FAST, UNSURE]


def about(
    *variants: Variant, chosen: Variant | str | None = None, minimise: str = "latency_ms", **more: str
) -> Subject:
    return subject(list(variants or ALL), chosen, minimise, more.get("where", ""), more.get("title", ""))


@pytest.mark.parametrize(
    ("minimise", "where", "best"),
    [
        ("latency_ms", "", SAFE),  # FAST loses 1.5 points on validation, UNSURE may be slower
        ("latency_ms", "accuracy >= baseline - 0.02", FAST),
        ("latency_ms", "accuracy >= 99 %", SAFE),
        ("latency_ms", "accuracy >= baseline - 0.02 and params <= 0.3", None),
        ("latency_ms", "accuracy >= baseline - 0.02 and speedup >= 3", FAST),
        ("latency_ms", "accuracy >= baseline - 0.02 and file_bytes <= 4600", FAST),
        ("latency_ms", "latency_ms <= 0.6", SAFE),
        ("macs", "", UNSURE),  # the fewest MACs of those that lose less than a point
        ("macs", "accuracy >= baseline - 0.02", FAST),
    ],
)
def test_the_best_keeps_to_every_limit_on_validation(minimise: str, where: str, best: Variant | None) -> None:
    found = about(minimise=minimise, where=where)
    assert (found.chosen and found.chosen.id) == (best and best.id)


def test_where_nothing_keeps_it_recommends_nothing_and_says_why() -> None:
    found = about(where="speedup >= 9")
    assert found.chosen is None
    assert "None of 3 variants is recommended" in answer(found)
    assert "measured speed-up at least 9.00×" in answer(found)
    assert "×" not in answer(found).replace("9.00×", "")  # no gain is named


def test_only_the_original_is_nothing_to_recommend() -> None:
    assert "Only the original is measured" in answer(about(make.original()))


def test_a_named_variant_is_told_from_the_one_of_the_rule() -> None:
    found = about(chosen=FAST.name)
    assert found.chosen is not None and found.chosen.id == FAST.id
    assert "does not keep to what was asked (loses at most 1 point of accuracy)" in keeps(found)
    assert f"By rule it would be {SAFE.name}" in chosen_how(found)
    assert "the same one" in chosen_how(about(chosen=SAFE))


def test_without_a_validation_split_the_test_split_chose_and_that_is_said() -> None:
    bare = [make.original(validation=None), make.variant(wb.SVD(0.5), validation=None)]
    found = about(*bare)
    assert found.asked.chose_on_test
    assert "flatter" in chosen_how(found)
    assert "400 test inputs" in keeps(found)


def test_archived_variants_are_left_out_unless_one_is_named() -> None:
    aside = make.labelled(SAFE, make.Label(archived=True))
    assert about(ALL[0], aside, FAST).chosen is None
    assert [one.id for one in about(ALL[0], aside, FAST).variants] == [ALL[0].id, FAST.id]
    assert about(ALL[0], aside, FAST, chosen=aside).chosen == aside


@pytest.mark.parametrize(
    ("what", "more", "error", "says"),
    [
        ([], {}, BadValue, "Nothing is measured yet"),
        ([SAFE, FAST], {}, BadValue, "The original is not among"),
        (SAFE, {}, BadValue, "The original is not among"),
        (ALL, {"chosen": make.variant(wb.CP(0.3))}, UnknownName, "CP 0.3"),
        (ALL, {"chosen": "nobody"}, UnknownName, "nobody"),
        (ALL, {"chosen": 3}, BadValue, "its id or its name, got 3"),
        (ALL, {"minimise": "accuracy"}, UnknownName, "accuracy"),
        (ALL, {"where": "accuracy is good"}, BadValue, "cannot be read"),
        (ALL, {"title": 7}, BadValue, "title is a text, got 7"),
        ("study", {}, BadValue, "a study or a list of its variants"),
        (None, {}, BadValue, "a study or a list of its variants"),
        ([*ALL, "x"], {}, BadValue, "a study or a list of its variants"),
    ],
)
def test_what_cannot_be_reported_is_refused(what: object, more: dict[str, object], error: type, says: str) -> None:
    given: dict[str, object] = {"chosen": None, "minimise": "latency_ms", "where": "", "title": "", **more}
    with pytest.raises(error, match=says):
        subject(what, **given)  # type: ignore[arg-type]


def test_variants_of_another_network_are_refused() -> None:
    from dataclasses import replace

    from tiny import tiny_model

    other = replace(SAFE, model=tiny_model(seed=7))
    with pytest.raises(BadValue, match="the variants of one study"):
        about(ALL[0], other)
