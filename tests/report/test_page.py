"""The report's page stands alone, says what was measured with its interval, and takes nothing typed for markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import by_hand as make
import numpy as np
import pytest

import workbench as wb
from workbench.errors import BadValue, StorageFailed
from workbench.estimate import paired_change
from workbench.report import content, page, writing
from workbench.report.classes import by_class
from workbench.variant import Variant

EVIL = "</script><script>alert('no')</script>{{ 7 * 7 }} <img src=x onerror=alert(1)> & \"more\""


class Reader(HTMLParser):
    """What a page says, what it runs, and whatever it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.open.append(tag)
        self.fetched += [f"{tag} {name}" for name in ("src", "srcset", "data", "poster") if name in given]
        self.fetched += [tag] if tag in {"link", "iframe", "img", "object", "embed", "base"} else []
        self.links += [str(given["href"])] if "href" in given else []
        self.ids += [str(given["id"])] if "id" in given else []
        if tag == "script":
            self.scripts.append((given, ""))

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            return
        if self.open and self.open[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        else:
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        self.open.append(f"/{tag}")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def charts(self) -> list[dict[str, object]]:
        return [json.loads(text) for given, text in self.scripts if given.get("type") == "application/json"]


@pytest.fixture(scope="module")
def variants() -> list[Variant]:
    """The original, one in which other classes lose than gain, and one that nobody can tell from the original."""
    places = [np.flatnonzero(make.labels() == label) for label in range(4)]
    lossy = make.wrong_on(*places[1][:30], *places[2][:2])
    return [
        make.original(test=make.wrong_on(*places[3][:9])),
        make.variant(wb.SVD(0.5), (2.0, 1.9, 2.1), test=lossy, validation=0.995),
        make.variant(wb.Tucker(0.5), (1.0, 0.98, 1.02), test=make.wrong_on(*places[3][:9])),
    ]


@pytest.fixture(scope="module")
def read(variants: list[Variant]) -> Reader:
    return Reader(content(variants))


def test_it_stands_alone(read: Reader, variants: list[Variant]) -> None:
    assert not read.fetched
    assert all(link.startswith("#") and link[1:] in read.ids for link in read.links)
    assert len(read.ids) == len(set(read.ids))
    text = content(variants)
    assert "default-src 'none'" in text
    style = text[text.index("<style>") : text.index("</style>")]
    assert not re.findall(r"url\(|@import", style)


def test_every_part_is_there(read: Reader, variants: list[Variant]) -> None:
    wanted = (
        "asked",
        "front",
        "chosen",
        "classes",
        "certificate",
        "layers",
        "verdict",
        "devices",
        "measured",
        "limits",
    )
    assert {*wanted, "variants"} <= set(read.ids)
    for one in variants:
        assert one.name in read.text
        assert one.id in read.ids
    assert variants[1].recipe.code().splitlines()[-1] in read.text
    assert len(read.charts) == 4


def test_the_first_sentence_has_intervals(read: Reader, variants: list[Variant]) -> None:
    first = read.text[: read.text.index("What was asked")]
    assert "2.00× faster than the original (1.90 to 2.10)" in first
    change = variants[1]["accuracy_change"]
    assert f"{100 * -change.high:.2f} to {100 * -change.low:.2f}" in first  # "less accurate (low to high)"
    assert "1.90 to 2.10, in turns with the original" in first
    assert "counted" in first


def test_no_gain_is_said_of_what_has_no_interval(read: Reader) -> None:
    """What a model predicts or was read once changes by nothing that is said; counted figures say that they are."""
    for name, how in (
        ("Predicted speed-up", "predicted"),
        ("Energy, estimated", "estimated"),
        ("Memory while running", "read once"),
    ):
        assert re.search(rf"{name} – {how}", read.text), name
    assert "no gain is claimed" in read.text
    assert re.search(r"MACs 2.00× smaller counted 0.09 M 0.0[45] M", read.text)


def test_what_is_not_distinguishable_is_called_so(variants: list[Variant]) -> None:
    found = Reader(content(variants, chosen=variants[2]))
    first = found.text[: found.text.index("What was asked")]
    assert "not distinguishable from that of the original (0.98 to 1.02×)" in first
    assert "faster" not in first.replace("not distinguishable", "")


def test_each_class_is_counted_on_the_same_inputs(variants: list[Variant]) -> None:
    original, lossy, _ = variants
    rows = {one.name: one for one in by_class(original, lossy, make.data().task.principal).rows}
    sizes = dict(zip("abcd", np.bincount(make.labels(), minlength=4), strict=True))
    lost, gained = {"a": 0, "b": 30, "c": 2, "d": 0}, {"a": 0, "b": 0, "c": 0, "d": 9}
    assert {name: one.n for name, one in rows.items()} == {name: n for name, n in sizes.items() if n}
    for name, one in rows.items():
        expected = paired_change(lost[name], gained[name], int(sizes[name]))
        assert (one.change.value, one.change.low, one.change.high) == pytest.approx(
            (expected.value, expected.low, expected.high)
        )
    assert next(iter(rows)) == "b"  # it suffers most


def test_classes_of_other_inputs_are_not_told(variants: list[Variant]) -> None:
    few = make.Sample.of_marks(np.ones(7, bool)).write()
    other = replace(variants[1], written={"accuracy": few})
    found = by_class(variants[0], other, make.data().task.principal)
    assert not found.rows
    assert "no class can be told" in found.why


def test_what_users_type_is_text(variants: list[Variant]) -> None:
    named = make.labelled(variants[1], make.Label(name=EVIL, tags=(EVIL,), text=EVIL))
    found = Reader(content([variants[0], replace(named, notes=(EVIL,), verdict=EVIL, machine=EVIL)], title=EVIL))
    assert not found.fetched
    assert [given.get("type") for given, _ in found.scripts] == ["application/json"] * 4 + ["module"]
    assert found.text.count("alert('no')") >= 8
    assert "{{ 7 * 7 }}" in found.text
    assert any(EVIL in json.dumps(chart, ensure_ascii=False).replace('\\"', '"') for chart in found.charts)


def test_only_the_original_is_a_report_too(variants: list[Variant]) -> None:
    found = Reader(content(variants[:1]))
    assert "Only the original is measured" in found.text
    assert "chosen" not in found.ids


def test_a_report_is_written_whole_or_not_at_all(
    variants: list[Variant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = wb.report(variants, tmp_path / "new" / "report.html")
    before = file.read_bytes()

    def fails(about: object) -> str:
        raise RuntimeError("in the middle")

    monkeypatch.setitem(writing.FORMS, ".html", fails)
    with pytest.raises(RuntimeError):
        wb.report(variants, file)
    assert file.read_bytes() == before
    assert [one.name for one in file.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("name", "says"), [("report.pdf", "neither .html"), ("folder.html", "is a folder"), ("", "Give a name")]
)
def test_a_file_that_cannot_be_is_refused(variants: list[Variant], tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(BadValue, match=says):
        wb.report(variants, tmp_path / name if name else "")


def test_a_folder_that_cannot_be_written_is_a_sentence(variants: list[Variant], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailed, match="Writing the report"):
        wb.report(variants, tmp_path / "file" / "report.html")


def test_the_page_is_no_larger_than_it_must_be() -> None:
    """Sixty variants beside the module that draws the charts."""
    text = page.page(make_subject(60))
    assert len(text.encode()) < 5e6


def make_subject(count: int) -> object:
    from workbench.report.subject import subject

    return subject(make.several(count), None, "latency_ms", "", "")
