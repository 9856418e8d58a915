"""Small studies that were measured elsewhere and are shipped as data, so that a first look has something to show."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.estimate import Estimate
from workbench.recipe import Recipe
from workbench.study import Study
from workbench.variant import Variant

FOLDER = Path(__file__).parent / "studies"


@dataclass(frozen=True)
class Published:
    """Variants with their figures and without their artefacts, and the machine that they were measured on."""

    machine: str
    created: str  # ISO 8601 day
    variants: tuple[Variant, ...]


def published(study: Study) -> Published | None:
    """The shipped study of the same model and the same data, or None."""
    file = FOLDER / f"{study.model.name}.json"
    if not file.is_file():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    if (content["model"], content["data"]) != (study.model.hash, study.data.hash):
        return None
    variants = tuple(_variant(study, entry, content["machine"]) for entry in content["variants"])
    return Published(content["machine"], content["created"], variants)


def publish(study: Study, machine: str, created: str) -> str:
    """A study as `published` reads it: JSON, figures rounded to six digits."""
    variants = [
        {
            "recipe": variant.recipe.to_list(),
            "notes": list(variant.notes),
            "verdict": variant.verdict,
            "estimates": {name: _rounded(estimate) for name, estimate in variant.estimates.items()},
            "samples": dict(variant.written),
        }
        for variant in study.variants
    ]
    head = {"model": study.model.hash, "data": study.data.hash, "machine": machine, "created": created}
    return json.dumps(head | {"variants": variants}, indent=1) + "\n"


def _rounded(estimate: Estimate) -> list[Any]:
    return [float(f"{value:.6g}") if isinstance(value, float) else value for value in asdict(estimate).values()]


def _variant(study: Study, entry: dict[str, Any], machine: str) -> Variant:
    recipe = Recipe.from_list(entry["recipe"])
    return Variant(
        id=study.id_of(recipe),
        model=study.model,
        data=study.data,
        recipe=recipe,
        estimates={name: Estimate(*values) for name, values in entry["estimates"].items()},
        artefact=Path("measured-elsewhere"),  # there is no artefact here
        weights=Path("measured-elsewhere"),
        notes=tuple(entry["notes"]),
        verdict=entry.get("verdict", ""),
        machine=machine,
        written=entry.get("samples", {}),
    )
