"""The model card is read by the hub's own library, and nothing that a user typed is Markdown in it."""

from __future__ import annotations

import re

import by_hand as make
import pytest
import yaml

import workbench as wb
from workbench.errors import BadValue
from workbench.report import content
from workbench.report.card import plain
from workbench.variant import Variant

EVIL = "a|b [x](http://evil) `code` **bold** <b>html</b>\n# heading\n---\nlicense: mit"


@pytest.fixture(scope="module")
def variants() -> list[Variant]:
    return [make.original(), make.variant(wb.SVD(0.5), test=make.wrong_on(0, 1), validation=0.999)]


def test_the_hub_reads_its_results(variants: list[Variant]) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the hub's library is not installed")
    card = hub.ModelCard(content(variants, ".md"))
    found = {one.metric_type: one for one in card.data.eval_results}
    assert found["accuracy"].metric_value == pytest.approx(398 / 400)
    assert found["speedup"].metric_value == pytest.approx(2.0)
    assert "95 % interval 1.90 to 2.10" in found["speedup"].metric_name
    assert found["accuracy"].dataset_split == "test"
    assert card.data.library_name == "onnx"
    assert "svd" in card.data.tags
    assert "## Limits" in card.text


def test_what_users_type_is_no_markdown(variants: list[Variant]) -> None:
    named = make.labelled(variants[1], make.Label(name=EVIL.replace("\n", " "), text=EVIL))
    text = content([variants[0], named], ".md", title=EVIL)
    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert "license" not in yaml.safe_load(head)
    assert "<b>" not in body
    assert not re.search(r"(?<!\\)\[x(?<!\\)\]", body)
    assert [line for line in body.splitlines() if line.startswith("# ")] == [body.splitlines()[1]]
    table = [line for line in body.splitlines() if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in table]
    assert set(cells) == {5}


def test_escaped_text_is_itself_again() -> None:
    """Without the backslashes, which Markdown takes away before a character of its own."""
    assert re.sub(r"\\([\\`*_\[\]|#~!$])", r"\1", plain(EVIL)) == " ".join(EVIL.split())


def test_code_stays_between_its_fences(variants: list[Variant]) -> None:
    odd = make.variant(wb.SVD(0.5, layers="conv```1"), validation=0.999)
    text = content([variants[0], odd], ".md")
    fences = re.findall(r"^`{3,}", text, re.MULTILINE)
    assert fences == ["````", "````"]


def test_a_card_is_about_one_variant(variants: list[Variant]) -> None:
    with pytest.raises(BadValue, match="A model card is about one variant"):
        content(variants, ".md", where="speedup >= 9")
    assert variants[1].name in content(variants, ".md", where="speedup >= 9", chosen=variants[1])
