"""JSON Schema of recipe files (draft 2020-12), made from what the settings of steps say of themselves.

Editors complete and check recipes with it. What it takes, `Recipe.from_list` takes or refuses with a sentence: what a
rank may be for a technique, and rules about several settings or steps at once, are looser here; so are whole numbers,
since to JSON Schema 3.0 is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.recipe_file import MOST_STEPS, VERSION
from workbench.settings import Described, Setting

DRAFT = "https://json-schema.org/draft/2020-12/schema"
#: Values of more than one type, by the kind of setting; ranks in mappings are no budgets.
SHAPES: dict[str, Any] = {
    "number": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "number", "minimum": 0, "maximum": 1}]},
    "names": {"type": ["string", "array"], "minLength": 1, "minItems": 1, "items": {"type": "string", "minLength": 1}},
    "text": {"type": ["string", "array"], "items": {"type": "string"}},
    "single": {
        "anyOf": [
            {"title": "a fraction of the full rank, or a number", "$ref": "#/$defs/number"},
            {"title": "one for each mode", "type": "array", "minItems": 1, "items": {"$ref": "#/$defs/number"}},
            {"title": "a rule", "type": "string", "pattern": r"^\s*(evbmf\s*|energy:.+)$"},
        ]
    },
    "rank": {
        "anyOf": [
            {"$ref": "#/$defs/single"},
            {"title": "a budget for all layers", "type": "string", "pattern": r"^\s*(macs|params):.+$"},
            {
                "title": "one for each layer, by its name or a glob",
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"$ref": "#/$defs/single"},
            },
        ]
    },
}
_PLAIN = {"flag": "boolean", "fraction": "number", "number": "number", "integer": "integer"}
_SHAPED = {"layers": "names", "text": "text", "rank": "rank"}


def recipe_schema(steps: Mapping[str, type[Described]]) -> dict[str, Any]:
    """The schema of a file with these steps, by their names: a mapping with the key `recipe`, or a bare list."""
    choices = [{"const": name, "title": one.title, "description": one.summary} for name, one in steps.items()]
    listed = {
        "description": "Steps in order; what works on the exported artefact, such as Quantize, comes last.",
        "type": "array",
        "maxItems": MOST_STEPS,
        "items": {"$ref": "#/$defs/step"},
    }
    step = {
        "type": "object",
        "required": ["step"],
        "properties": {"step": {"title": "technique", "description": "What the step does.", "oneOf": choices}},
        "allOf": [
            {"if": {"properties": {"step": {"const": name}}, "required": ["step"]}, "then": {"$ref": f"#/$defs/{name}"}}
            for name in steps
        ],
    }
    return {
        "$schema": DRAFT,
        "title": "Recipe of the workbench",
        "type": ["object", "array"],
        "properties": {"$schema": {"type": "string"}, "version": _version(), "recipe": listed},
        "required": ["recipe"],
        "additionalProperties": False,
        **{key: listed[key] for key in ("maxItems", "items")},
        "$defs": SHAPES | {"step": step} | {name: _step(name, one) for name, one in steps.items()},
    }


def _version() -> dict[str, Any]:
    said = "The version of the file's form; 1 where it is left out."
    return {"title": "version", "description": said, "type": "integer", "minimum": 1, "maximum": VERSION}


def _step(name: str, kind: type[Described]) -> dict[str, Any]:
    return {
        "title": kind.title,
        "description": kind.summary,
        "type": "object",
        "properties": {"step": {"const": name}} | {one.name: _setting(one) for one in kind.settings()},
        "required": ["step"],
        "additionalProperties": False,
    }


def _setting(one: Setting) -> dict[str, Any]:
    unit = f" In {one.unit}." if one.unit else ""
    return {"title": one.label, "description": one.help + unit, "default": _plain(one.default)} | _values(one)


def _values(one: Setting) -> dict[str, Any]:
    if one.kind == "choice":
        return {"enum": list(one.choices)}
    if one.kind in _SHAPED:
        return {"$ref": f"#/$defs/{_SHAPED[one.kind]}"}
    bounds = {"minimum": one.low, "maximum": one.high} if one.kind != "flag" else {}
    return {"type": _PLAIN[one.kind]} | {key: bound for key, bound in bounds.items() if bound is not None}


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
