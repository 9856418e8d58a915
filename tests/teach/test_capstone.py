"""Lab 8: what is right by hand, by building it, by brute force; and what is said of made things that fall short."""

from __future__ import annotations

import functools
import heapq
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.certificate import Answer, Certificate
from workbench.estimate import exact
from workbench.frames.pareto import front
from workbench.manifest import read_manifest
from workbench.teach import check, forget, rubric
from workbench.teach.labs import capstone as lab
from workbench.teach.made import Demand, Made
from workbench.variant import Variant

RIGHT: dict[str, Any] = {one.name: one.right for one in lab.QUESTIONS if not isinstance(one, Made)}  # type: ignore[attr-defined]
INT8 = wb.Quantize("int8")


@pytest.fixture(autouse=True)
def fresh() -> None:
    forget()


def said(name: str, answer: Any) -> str:
    found = check(name, answer)
    assert not found.passed
    return found.text


def test_sharing_and_sizes_by_hand() -> None:
    assert RIGHT["capstone-sharing"] == pytest.approx(3.2)  # Han et al. 2016, section 3: "compression rate of 3.2"
    layer = [torch.zeros(16, 28, 28, dtype=torch.int8), torch.zeros(24, 14, 14, dtype=torch.int8)]
    assert RIGHT["capstone-ram"] == sum(one.numel() * one.element_size() for one in layer)


def test_the_huffman_code_by_building_it() -> None:
    heap = [(share, (place,)) for place, share in enumerate(lab.SHARES)]
    lengths = np.zeros(len(heap))
    heapq.heapify(heap)
    while len(heap) > 1:
        (one, left), (two, right) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[[*left, *right]] += 1
        heapq.heappush(heap, (one + two, left + right))
    assert RIGHT["capstone-huffman"] == pytest.approx(float(lengths @ lab.SHARES))


def test_the_front_by_brute_force_and_by_the_workbench() -> None:
    points = np.random.default_rng(9).permutation(40).reshape(20, 2) * 1.0  # no two alike
    kept = [
        not any(o[0] <= p[0] and o[1] >= p[1] and (o[0] < p[0] or o[1] > p[1]) for o in points) for p in points
    ]  # fmt: skip
    assert RIGHT["capstone-front"](points).tolist() == kept
    frame = pd.DataFrame({"id": [*map(str, range(20))], "macs": points[:, 0], "accuracy": points[:, 1]})
    frame["recipe"] = "{}"
    assert {*front(frame, "macs", "accuracy")["id"]} == {str(place) for place in np.flatnonzero(kept)}


@functools.cache
def network(name: str) -> wb.Model:
    return wb.load(name)


def variant(model: str, recipe: wb.Recipe, **figures: float) -> Variant:
    """As a study gives it, without its work: the plan's network, and figures as they are told."""
    loaded = network(model)
    given = {"validation_accuracy_change": 0.0, "huffman_bytes": 0.0} | figures
    estimates = {name: exact(value) for name, value in given.items()}
    nowhere = Path("nowhere")
    data = wb.data("tones" if model == lab.HEARING else "fashion-mnist")
    found = Variant("0a", recipe, estimates, nowhere, nowhere, model=loaded, data=data)
    found.__dict__["network"] = recipe.plan(loaded).network
    return found


def test_a_microcontrollers_variant() -> None:
    small = wb.PruneChannels(0.3) | INT8
    assert check("capstone-mcu", variant(lab.HEARING, small)).passed
    wrong = [
        small,
        variant(lab.SEEING, small),
        variant(lab.HEARING, wb.Recipe()),
        variant(lab.HEARING, wb.Recipe((wb.PruneChannels(0.6),))),
        variant(lab.HEARING, wb.Recipe((INT8,))),
        variant(lab.HEARING, small, validation_accuracy_change=-0.05),
    ]
    texts = [said("capstone-mcu", one) for one in wrong]
    assert len({*texts}) == len(texts)
    for word, text in zip(("Recipe", lab.HEARING, "original", "floats", "RAM", "points"), texts, strict=True):
        assert word in text


def test_ram_and_flash_of_a_microcontrollers_variant_are_looked_at_each(monkeypatch: pytest.MonkeyPatch) -> None:
    small = variant(lab.HEARING, wb.PruneChannels(0.3) | INT8)
    ram, flash = lab._ram(small), lab._flash(small)
    parameters = sum(one.params for one in small.network.layers)
    assert flash == pytest.approx(parameters, rel=0.1)  # a byte each, and biases in four
    monkeypatch.setattr(lab, "_ram", lambda one: lab.RAM + 1)
    assert "RAM" in said("capstone-mcu", small)
    monkeypatch.setattr(lab, "_ram", lambda one: ram)
    monkeypatch.setattr(lab, "_flash", lambda one: lab.FLASH + 1)
    assert "flash" in said("capstone-mcu", small)


def test_deep_compression() -> None:
    deep = wb.Prune(0.7) | wb.ShareWeights(epochs=0)
    assert check("capstone-deep", variant(lab.SEEING, deep, huffman_bytes=24_000)).passed
    wrong = [
        deep,
        variant(lab.HEARING, deep),
        variant(lab.SEEING, wb.Recipe()),
        variant(lab.SEEING, wb.Recipe((wb.ShareWeights(epochs=0),))),
        variant(lab.SEEING, wb.Recipe((wb.Prune(0.7),))),
        variant(lab.SEEING, deep, huffman_bytes=24_001),
        variant(lab.SEEING, deep, validation_accuracy_change=-0.0201),
    ]
    texts = [said("capstone-deep", one) for one in wrong]
    assert len({*texts}) == len(texts)
    for word, text in zip(("Recipe", lab.SEEING, "original", "Prune", "ShareWeights", "24,000"), texts, strict=False):
        assert word in text


def test_a_certificate() -> None:
    good = Certificate("small", "accuracy", True, "", "test", 0.03, 0.05, Answer.PASSES, 0.01, 0.0, 0.02, 500)
    assert check("capstone-certificate", good).passed
    unknown = replace(good, answer=Answer.UNDECIDED, at_least=0.01, at_most=0.05)
    wrong = [
        True, variant(lab.HEARING, wb.Recipe()), replace(good, metric="agreement"), replace(good, split="validation"),
        replace(good, margin=0.1), replace(good, alpha=0.5), unknown,
        replace(good, answer=Answer.FAILS, loss=0.1, at_least=0.05, at_most=0.2),
    ]  # fmt: skip
    texts = [said("capstone-certificate", one) for one in wrong]
    assert len({*texts}) == len(texts)


@pytest.fixture(scope="module")
def study() -> wb.Study:
    """A small network of one's own, and its variant in half precision."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    inputs, labels = torch.randn(60, 1, 8, 8), torch.randint(0, 3, (60,))
    made = wb.Study(wb.load(net, example=(1, 1, 8, 8)), wb.data({"train": (inputs, labels), "test": (inputs, labels)}))
    made.run(wb.SVD(rank=2, layers="*"), progress=False)
    return made


@pytest.fixture(scope="module")
def exported(study: wb.Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wb.export(study.variants[-1], tmp_path_factory.mktemp("capstone") / "out").path


def test_an_export(study: wb.Study, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "another network" in said("capstone-export", exported)
    monkeypatch.setattr(lab, "HEARING", read_manifest(exported).model)
    assert check("capstone-export", exported).passed and check("capstone-export", str(exported)).passed
    manifest = wb.export(study.baseline, tmp_path / "original")
    changed = tmp_path / "changed"
    shutil.copytree(exported, changed)
    with (changed / "recipe.yaml").open("a") as file:
        file.write("# mine\n")
    (tmp_path / "empty").mkdir()
    wrong = [17, tmp_path / "nowhere", tmp_path / "empty", manifest, changed]
    texts = [said("capstone-export", one) for one in wrong]
    assert len({*texts}) == len(texts)
    for word, text in zip(("int", "no such", "manifest.json", "original", "changed"), texts, strict=True):
        assert word in text


def test_a_folder_that_only_looks_like_an_export(exported: Path, tmp_path: Path) -> None:
    """What cannot be read is told in a sentence, not raised."""
    torn = tmp_path / "torn"
    shutil.copytree(exported, torn)
    (torn / "manifest.json").write_text(json.dumps({"files": 3}))
    assert "Export again" in said("capstone-export", torn)


def test_a_model_card(study: wb.Study, tmp_path: Path) -> None:
    chosen = study.variants[-1]
    study.certify(chosen, margin=0.9, progress=False)
    silent = wb.report(study, tmp_path / "silent.md", chosen=chosen)
    study.annotate(chosen, "Intended use: a test.")
    card = wb.report(study, tmp_path / "card.md", chosen=chosen)
    assert check("capstone-card", str(card)).passed
    page, headless, unproven = (tmp_path / name for name in ("page.html", "headless.md", "unproven.md"))
    page.write_text("<p>")
    headless.write_text(card.read_text().partition("---\n")[2].partition("---\n")[2])
    unproven.write_text(card.read_text().replace("### Certificate", "### Proof"))
    binary = tmp_path / "binary.md"
    binary.write_bytes(b"---\n\xff\xfe")
    assert "YAML" in said("capstone-card", binary)  # what cannot be read is told, not raised
    wrong = [17, page, tmp_path / "nowhere.md", headless, unproven, silent]
    texts = [said("capstone-card", one) for one in wrong]
    assert len({*texts}) == len(texts)
    for word, text in zip(("int", ".md file", "no such", "YAML", "certif", "intended use"), texts, strict=True):
        assert word.lower() in text.lower()


def test_demands_are_looked_at_in_turn_and_the_rubric_counts() -> None:
    looked: list[str] = []

    def seeing(name: str, met: bool) -> Demand:
        return Demand(lambda one: looked.append(name) is None and met, f"{name} of {{}}")

    question = Made("x", "?", (), demands=(seeing("a", True), seeing("b", False), seeing("c", True)))
    assert question.judge(3) == "b of a int"
    assert looked == ["a", "b"]
    check("capstone-mcu", variant(lab.HEARING, wb.PruneChannels(0.3) | INT8))
    found = rubric("capstone").set_index("question")
    assert found["points"].sum() == sum(one.points for one in lab.QUESTIONS)
    assert found["reached"].sum() == found.loc["capstone-mcu", "points"] == 4
