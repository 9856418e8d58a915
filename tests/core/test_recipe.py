"""Recipes: chaining, hashing, files, plans; and everything that is refused."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import mypy.api
import pytest
import yaml
from tiny import tiny_model

import workbench as wb
from workbench.errors import BadFile, BadValue, UnknownName

CHAIN = wb.Prune(ratio=0.3, layers=("conv1", "conv2")) | wb.Quantize("int8")


def test_a_chain_is_a_value() -> None:
    again = wb.Prune(ratio=0.3, layers=["conv1", "conv2"]) | wb.Quantize("int8")
    assert again == CHAIN and hash(CHAIN) == hash(again) and CHAIN.key == again.key
    assert CHAIN.key != (wb.Prune(ratio=0.31) | wb.Quantize("int8")).key
    assert [type(s).__name__ for s in CHAIN | wb.Recipe()] == ["Prune", "Quantize"]


@pytest.mark.parametrize("name", ["recipe.yaml", "recipe.json"])
def test_files_give_the_same_recipe_back(tmp_path: Path, name: str) -> None:
    CHAIN.save(tmp_path / name)
    assert wb.Recipe.load(tmp_path / name) == CHAIN


def test_the_catalogue_can_be_loaded_by_name() -> None:
    names = wb.recipes().name.tolist()
    assert "deep-compression" in names
    for name in names:
        recipe = wb.Recipe.load(name)
        assert len(recipe) > 0 and wb.Recipe.from_yaml(recipe.to_yaml()) == recipe
    steps = [type(step).__name__ for step in wb.Recipe.load("deep-compression")]
    assert steps == ["Prune", "Recalibrate", "Finetune", "ShareWeights"]
    with pytest.raises(BadFile, match="cannot be read"):
        wb.Recipe.load("deep-decompression")


@pytest.mark.parametrize("use", ["Recipe.load('int8')", "recipes()", "Recipe.from_list([{'step': 'SVD'}])"])
def test_recipes_are_read_where_no_step_was_used_before(use: str) -> None:
    for code in (f"import workbench as wb; print(wb.{use})", f"from workbench.recipe import *; print({use})"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_code_runs_and_makes_the_same_recipe() -> None:
    scope: dict[str, object] = {}
    exec(CHAIN.code(), scope)  # what a user would paste
    assert scope["recipe"] == CHAIN


def test_every_step_describes_every_setting() -> None:
    for name, step in wb.steps.REGISTRY.items():
        assert step.title and step.summary and step.family, name
        for s in step.settings():
            assert s.help and s.label, f"{name}.{s.name}"
            if s.kind in {"fraction", "integer", "number"}:
                assert s.low is not None or s.high is not None, f"{name}.{s.name} has no bound"


def test_defaults_survive_a_round_trip() -> None:
    for name, step in wb.steps.REGISTRY.items():
        recipe = wb.Recipe((step(),))
        assert wb.Recipe.from_json(recipe.to_json()) == recipe, name
        assert wb.Recipe.from_yaml(recipe.to_yaml()) == recipe, name


def test_lowering_comes_last() -> None:
    with pytest.raises(BadValue, match="must come after"):
        wb.Quantize("int8") | wb.Prune(0.5)


def test_one_step_sets_the_precision() -> None:
    with pytest.raises(BadValue, match=r"wb.QAT\(\) and wb.Quantize\(precision='fp16'\) both set the precision"):
        wb.QAT() | wb.Quantize("fp16")


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("[{'step': 'Tuker'}]", UnknownName, "Did you mean 'Tucker'"),
        ("[{'step': 'Prune', 'raito': 0.5}]", UnknownName, "Did you mean 'ratio'"),
        ("[{'step': 'Prune', 'ratio': 50}]", BadValue, "write 0.5"),
        ("[{'step': 'Prune', 'ratio': 'half'}]", BadValue, "'half'"),
        ("[{'ratio': 0.5}]", BadValue, "'step'"),
        ("recipe: 3", BadValue, "list of steps"),
        ("a: [b", BadFile, "not YAML"),
    ],
)
def test_bad_text_is_refused_with_the_value(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        wb.Recipe.from_yaml(text)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(BadFile, match=r"recipe\.yaml"):
        wb.Recipe.load(tmp_path / "recipe.yaml")
    with pytest.raises(BadFile, match="nowhere"):
        wb.Recipe.load(tmp_path / "nowhere.yaml")


def test_what_is_no_step_is_refused() -> None:
    with pytest.raises(BadValue, match="made of steps"):
        wb.Recipe(("Tucker",))  # type: ignore[arg-type]  # the mistake under test


def test_a_plan_has_a_row_for_each_layer() -> None:
    plan = wb.Prune(ratio=0.5, layers="conv*").plan(tiny_model())
    assert list(plan.layer) == ["conv1", "conv2", "head"]
    assert list(plan.applies) == [True, True, False]


def test_an_unknown_layer_is_named() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'conv1'"):
        wb.Prune(layers="conv11").plan(tiny_model())


def test_the_empty_recipe_predicts_the_original() -> None:
    model = tiny_model()
    assert wb.Recipe().plan(model).totals == model.network.totals


BARE = [{"step": "Prune", "ratio": 0.3}, {"step": "Quantize"}]


@pytest.mark.parametrize(
    "content", [BARE, {"recipe": BARE}, {"version": 1, "recipe": BARE}, {"$schema": "a.json", "recipe": BARE}]
)
def test_files_of_every_form_are_read(content: object, tmp_path: Path) -> None:
    for name, write in {"r.yaml": yaml.safe_dump, "r.json": json.dumps}.items():
        (tmp_path / name).write_text(write(content))
        assert wb.Recipe.load(tmp_path / name) == wb.Prune(0.3) | wb.Quantize("int8")


def test_files_say_their_version_first(tmp_path: Path) -> None:
    CHAIN.save(tmp_path / "r.yaml")
    assert (tmp_path / "r.yaml").read_text().startswith("version: 1\nrecipe:\n")


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        ({"version": 2, "recipe": BARE}, BadFile, r"newer version .*of version 2, .* up to version 1"),
        ({"version": 10**19, "steps": {}}, BadFile, "newer version"),
        ({"version": 0, "recipe": BARE}, BadFile, "its version is 0"),
        ({"version": True, "recipe": BARE}, BadFile, "its version is True"),
        ({"version": "1", "recipe": BARE}, BadFile, "its version is '1'"),
        ({"version": 1.0, "recipe": BARE}, BadFile, r"its version is 1\.0"),
        ({"version": 1, "reciep": BARE}, UnknownName, "Did you mean 'recipe'"),
        ({"version": 1}, BadValue, "list of steps"),
    ],
)
def test_a_newer_version_and_a_wrong_form_are_refused(content: object, error: type[Exception], says: str) -> None:
    for read, text in ((wb.Recipe.from_json, json.dumps(content)), (wb.Recipe.from_yaml, yaml.safe_dump(content))):
        with pytest.raises(error, match=says):
            read(text)


def test_the_key_is_of_the_steps_alone() -> None:
    """It names stored things: it may not change with the form of files."""
    listed = '[{"layers": ["conv1", "conv2"], "ratio": 0.3, "step": "Prune"}, {"step": "Quantize"}]'
    assert CHAIN.key == hashlib.sha256(listed.encode()).hexdigest()[:16]


def test_chains_are_typed(tmp_path: Path) -> None:
    """What a user's type checker is told of steps, which are found by name when the package runs."""
    said = {
        'wb.SVD(0.5) | wb.Quantize("int8")': "Recipe",
        "wb.Recipe() | wb.SVD(0.5)": "Recipe",
        "wb.Tucker(rank=0.5)": "Step",
        "wb.Tucker(rank=0.5).recipe()": "Recipe",
        "wb.Tucker(rank=0.5).plan(wb.load('fashion-vgg'))": "Plan",
        "wb.Tucker(rank=0.5).code()": "str",
    }
    lines = [f"assert_type({one}, {kind})" for one, kind in said.items()]
    head = [f"from workbench.{one.lower()} import {one}" for one in ("Plan", "Recipe", "Step")]
    head = ["from typing import assert_type", "import workbench as wb", *head]
    (tmp_path / "typed.py").write_text("\n".join([*head, *lines, "isinstance(wb.SVD(), wb.SVD)"]))
    found = mypy.api.run([str(tmp_path / "typed.py")])  # by the project's own rules, whose cache it shares
    assert found[2] == 0, found[0]
