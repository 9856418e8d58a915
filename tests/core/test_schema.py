"""The JSON Schema of recipes and the reader of recipes agree; the `jsonschema` package judges."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.recipe_file import CATALOGUE
from workbench.schema import recipe_schema
from workbench.settings import Described, setting
from workbench.steps import REGISTRY

#: What somebody might write for a setting, right or wrong.
VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 3, 16, 300, -1, 0.0, 0.01, 0.5, 0.99, 1.0, 1.5, 3.0, 50.0, -0.5, 1e-4, 1e9, 10**18,
    "", "*", "conv1", "auto", "evbmf", "energy:0.9", "macs:0.5", "params:0.25", "energy:", "half", "0.5", "50%",
    [], ["a", "b"], [""], [16, 24], [0.5, 0.25], [0.5, "a"], [1, None], [[1]], {}, {"conv1": 4},
    {"conv*": 0.5, "b": "evbmf"}, {"a": "macs:0.5"}, {"a": [4, 8]}, {"a": {"b": 1}},
]  # fmt: skip
SHIPPED = {name: one for name, one in REGISTRY.items() if one.__module__.startswith("workbench.steps")}
EVERY = [(name, one.name) for name, step in SHIPPED.items() for one in step.settings()]


@pytest.fixture(scope="module")
def schema() -> Validator:
    found = wb.Recipe.schema()
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def read(content: object) -> wb.Recipe | None:
    """The recipe, or None where it is refused in words; whatever else is raised fails the test."""
    try:
        return wb.Recipe.from_yaml(json.dumps(content))
    except WorkbenchError:
        return None


@pytest.mark.parametrize("file", sorted(CATALOGUE.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_catalogue_is_valid(schema: Validator, file: Path) -> None:
    assert schema.is_valid(yaml.safe_load(file.read_text()))


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_saved_is_valid(schema: Validator, name: str, tmp_path: Path) -> None:
    for file in ("r.json", "r.yaml"):
        SHIPPED[name]().save(tmp_path / file)
        assert schema.is_valid(yaml.safe_load((tmp_path / file).read_text()))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([{"step": "Tuker"}], "Tuker"),
        ([{"ratio": 0.5}], "'step' is a required property"),
        ([{"step": "Prune", "raito": 0.5}], "'raito' was unexpected"),
        ([{"step": "Prune", "ratio": 50}], "50 is greater than the maximum"),
        ([{"step": "Quantize", "precision": "int9"}], "'int9' is not one of"),
        ([{"step": "Quantize", "per_channel": 1}], "1 is not of type 'boolean'"),
        ([{"step": "SVD", "rank": {"a": "macs:0.5"}}], "macs:0.5"),
        ({"version": 2, "recipe": []}, "2 is greater than the maximum"),
        ({"versoin": 1, "recipe": []}, "'versoin' was unexpected"),
        ({"version": 1}, "'recipe' is a required property"),
        ("SVD", "'SVD' is not of type"),
    ],
)
def test_wrong_recipes_are_neither_valid_nor_read(schema: Validator, content: object, says: str) -> None:
    assert any(says in error.message for error in schema.iter_errors(content))
    assert read(content) is None


@pytest.mark.parametrize(("step", "name"), EVERY)
def test_each_setting_takes_in_a_file_what_the_schema_says(schema: Validator, step: str, name: str) -> None:
    spec = next(one for one in SHIPPED[step].settings() if one.name == name)
    for value in VALUES:
        content = [{"step": step, name: value}]
        valid, recipe = schema.is_valid(content), read(content)
        if recipe is not None:
            assert valid, value
        elif valid:  # looser on purpose: ranks, whole numbers as 3.0, settings that depend on each other
            loose = spec.kind == "rank" or isinstance(value, float)
            assert loose or (step, name) in {("PruneNM", "n"), ("PruneNM", "m")}, value


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_what_the_schema_takes_is_read_or_refused_with_a_sentence(data: st.DataObject) -> None:
    valid = Draft202012Validator(wb.Recipe.schema()).is_valid
    content = [{"step": data.draw(st.sampled_from(list(SHIPPED)))} for _ in range(data.draw(st.integers(0, 3)))]
    for entry in content:
        for one in SHIPPED[entry["step"]].settings():
            if data.draw(st.integers(0, 3)) == 0:
                fits = [v for v in [*VALUES, *one.choices] if valid([{"step": entry["step"], one.name: v}])]
                entry[one.name] = data.draw(st.sampled_from(fits))
    assert valid(content)
    recipe = read(content)
    assert recipe is None or (valid(json.loads(recipe.to_json())) and wb.Recipe.from_json(recipe.to_json()) == recipe)


def test_everything_is_described() -> None:
    found = wb.Recipe.schema()
    for name, step in SHIPPED.items():
        said = found["$defs"][name]
        assert (said["title"], said["description"]) == (step.title, step.summary)
        assert said["properties"].keys() == {"step"} | {one.name for one in step.settings()}
        for one in step.settings():
            told = said["properties"][one.name]
            assert told["title"] == one.label and told["description"].startswith(one.help)
            assert told["default"] == one.default


def test_a_technique_of_ones_own_is_in_it_by_what_it_says_of_itself() -> None:
    @dataclass(frozen=True)
    class Mine(Described):
        title: ClassVar[str] = "Mine"
        summary: ClassVar[str] = "Own."
        depth: int = setting(2, "integer", "How deep.", low=1, high=4, unit="layers")
        how: str = setting("a", "choice", "How.", choices=("a", "b"))

    valid = Draft202012Validator(recipe_schema({"Mine": Mine})).is_valid
    assert valid([{"step": "Mine", "depth": 4, "how": "b"}]) and valid([{"step": "Mine"}])
    wrong: list[dict[str, Any]] = [{"depth": 5}, {"depth": 1.5}, {"how": "c"}, {"x": 1}]
    assert not any(valid([{"step": "Mine"} | one]) for one in wrong)


def test_the_command_line_prints_and_writes_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "workbench", "schema"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    subprocess.run([*command, "--output", str(tmp_path / "s.json")], check=True)
    assert json.loads(printed) == json.loads((tmp_path / "s.json").read_text())
    assert SHIPPED.keys() <= json.loads(printed)["$defs"].keys()
    refused = subprocess.run([*command, "--output", str(tmp_path)], capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and "Writing the schema" in refused.stderr and "Traceback" not in refused.stderr
