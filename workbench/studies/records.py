"""The row of a variant: what it says, sealed; how it is written, and read again whatever became of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, text, update

from workbench.errors import BadFile
from workbench.estimate import Estimate
from workbench.studies.naming import Label
from workbench.studies.tables import devices, labels, replaced, variants
from workbench.untrusted import check_version

#: The version of a row. It grows where what an earlier workbench reads of it would be misunderstood.
ROW_VERSION = 1
#: What a seal covers of an estimate: a later version may know more, and its rows are sealed alike.
SEALED = ("value", "low", "high", "n", "unit")
COLUMNS = tuple(column.name for column in variants.columns if column.name != "position")


@dataclass(frozen=True)
class Record:
    """A variant as it is stored; `onnx` and `state` are names of files in the folder."""

    id: str
    created: str
    recipe: str
    estimates: dict[str, Estimate]
    notes: tuple[str, ...]
    onnx: str = ""
    state: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)  # the verdict, the machine; of later versions what they like

    @property
    def seal(self) -> str:
        """A digest of what the row says, by which a change of it is noticed."""
        figures = {name: [getattr(e, part) for part in SEALED] for name, e in self.estimates.items()}
        said = [self.metadata.get(name, "") for name in ("verdict", "machine", "samples")]
        content = [self.id, self.created, self.recipe, figures, self.notes, self.onnx, self.state, said]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def row(self) -> dict[str, str]:
        """The columns of its row."""
        estimates = json.dumps({name: asdict(e) for name, e in self.estimates.items()})
        values = (self.id, self.created, self.recipe, estimates, json.dumps(self.notes), self.onnx, self.state)
        more = (json.dumps(self.metadata), self.seal, str(ROW_VERSION))
        return dict(zip(COLUMNS, values + more, strict=True))


@dataclass(frozen=True)
class Damaged:
    """A row that cannot be read: its id and recipe as far as they are known, and why."""

    id: str
    recipe: str
    error: BadFile


def stored_rows(connection: Connection, identity: str | None = None) -> list[Record | Damaged]:
    """Every variant, or the one of an id, in order of creation."""
    query = select(*(variants.c[name] for name in COLUMNS)).order_by(variants.c.position)
    if identity is not None:
        query = query.where(variants.c.id == identity)
    return [read_row(row) for row in connection.execute(query).mappings()]


def stored_labels(connection: Connection) -> dict[str, Label]:
    """What users wrote on variants, by id; what cannot be read is left out."""
    rows = connection.execute(select(labels.c.id, labels.c.label)).all()
    return {str(identity): label for identity, text in rows if (label := Label.from_json(text)) is not None}


def stored_devices(connection: Connection) -> dict[str, str]:
    """What devices answered, by their ids."""
    return {str(identity): str(content) for identity, content in connection.execute(select(devices)).all()}


def write_row(connection: Connection, row: Mapping[str, str]) -> None:
    """Insert a row, or replace the content of the one of its id in its place, of which a copy is set aside."""
    mine = variants.c.id == row["id"]
    everything = select(text("*")).select_from(variants).where(mine)  # what a later version added as well
    old = connection.execute(everything).mappings().first()
    if old is None:
        connection.execute(insert(variants).values(row))
        return
    content = json.dumps(dict(old), default=repr)
    connection.execute(insert(replaced).values(id=row["id"], content=content))
    connection.execute(update(variants).where(mine).values(row))


def read_row(row: Mapping[Any, Any]) -> Record | Damaged:
    """A row as it was stored, or why it cannot be that."""
    identity, created, recipe, estimates, notes, onnx, state, metadata, seal, version = (row[name] for name in COLUMNS)
    try:
        check_version({"version": json.loads(version)}, ROW_VERSION, "It")
        _check_texts(onnx, state, identity, created, recipe)
        for content in (recipe, estimates, notes, metadata):  # half of a character, which no table can hold
            json.dumps(json.loads(content), ensure_ascii=False).encode()
        figures = {name: _estimate(name, content) for name, content in json.loads(estimates).items()}
        record = Record(identity, created, recipe, figures, _texts(notes), onnx, state, dict(json.loads(metadata)))
        intact = not seal or record.seal == seal
        if not intact:
            raise BadFile("Its figures or names are not those that were stored.")
    except BadFile as error:
        return Damaged(str(identity), str(recipe), error)
    except Exception as error:  # noqa: BLE001  # a row may hold anything, and one must not lock the others out
        return Damaged(str(identity), str(recipe), BadFile(f"{type(error).__name__}: {error}."))
    return record


def _check_texts(onnx: str, state: str, *others: str) -> None:
    """Raise `TypeError` where a text is none, or the name of a file leads elsewhere."""
    names = all(isinstance(one, str) and one and Path(one).name == one for one in (onnx, state))
    if not names or not all(isinstance(one, str) for one in others):
        raise TypeError("a text or the name of a file is something else")


def _texts(content: str) -> tuple[str, ...]:
    found = json.loads(content)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise TypeError("the notes are no list of texts")
    return tuple(found)


def _estimate(name: str, content: dict[str, Any]) -> Estimate:
    """An estimate from its stored fields; what a later version adds is left alone."""
    known = {one.name: content[one.name] for one in fields(Estimate) if one.name in content}
    numbers = [known["value"], known["low"], known["high"], known.get("n", 1)]
    if not all(type(one) in (int, float) for one in numbers):
        raise TypeError(f"{name} is no number")
    return Estimate(**known)
