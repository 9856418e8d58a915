"""What a study keeps, and where: the folder of one that was given none, and what users say of its variants."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import platformdirs

from workbench.devices.answered import Device, by_variant, slower
from workbench.errors import BadFile, BadValue, NewerVersion, WorkbenchError
from workbench.files.content import problem
from workbench.proof.provenance import MADE
from workbench.recipe import Recipe
from workbench.studies.naming import Label, Names
from workbench.studies.records import Damaged, Record
from workbench.studies.storage import Storage
from workbench.untrusted import quota
from workbench.variant import Finished, Variant

SAMPLES = "samples"  # what paired comparison reads, among what a row says
TAKEN = "taken"  # the same of what its making took
#: Names the folder that holds `studies/`, those that are given no path; empty: these are not kept.
HOME = "WORKBENCH_HOME"
_LONGEST = 200


def shelf() -> Path | None:
    """The folder of all studies that were given none; None where such are not kept.

    On a published page, where everybody has the same home, each visitor's studies go with the visit.
    """
    away = os.environ.get(HOME) == "" or os.environ.get("WORKBENCH_PUBLISHED") == "1"
    return None if away or quota.here() != quota.Quota() else studies_folder()


def studies_folder() -> Path | None:
    """The folder of all studies that were given none; None for a user without a home."""
    given = os.environ.get(HOME)
    folder = Path(given) if given else platformdirs.user_data_path("nn-workbench", appauthor=False)
    return folder / "studies" if given or folder.is_absolute() else None


def home(name: str, *content: str) -> Path | None:
    """The folder of a study that was given none, by its name and what it is about; None where such are not kept."""
    folder = shelf()
    return None if folder is None else folder / _named(name, *content)


def shared_home(name: str, *content: str) -> Path:
    """The folder in which this machine works on a study whose database was given: that is kept in any case."""
    folder = studies_folder() or Path(tempfile.gettempdir()) / "nn-workbench-studies"
    return folder / _named(name, *content)


def _named(name: str, *content: str) -> str:
    digest = hashlib.sha256("\n".join(content).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('.-')[:80]}-{digest}"


def shown(folder: Path) -> str:
    """A folder as users know it: under their home with a tilde."""
    absolute, own = folder.absolute(), Path("~").expanduser() if "HOME" in os.environ else None
    return f"~/{absolute.relative_to(own)}" if own and absolute.is_relative_to(own) else str(absolute)


def unreadable(identity: str, text: str, why: Exception) -> str:
    """A sentence that names a stored variant which cannot be read, and how to get it back."""
    try:
        recipe = Recipe.from_json(text)
        name, again = recipe.name, f"study.run({recipe.code().rpartition('recipe = ')[2].strip()})"
    except (WorkbenchError, RecursionError):
        name, again = text[:100], "study.run(recipe)"
    advice = f" Where a later version wrote it, update the workbench; else run its recipe again: {again}."
    said = (
        f"The variant {name} ({identity}) in the study's database cannot be read and is left out; the others are here. "
        f"Reason: {why}"
    )
    return said if isinstance(why, NewerVersion) else said + advice


def finished(
    record: Record, names: Names, storage: Storage | None = None, devices: Sequence[Device] = ()
) -> Finished:
    """What a row says of a variant, with its files where they are known, and what devices answered, oldest first.

    Raises: `WorkbenchError` for a recipe that cannot be read.
    """
    folder = storage.artefacts if storage else Path()
    return Finished(
        id=record.id,
        recipe=Recipe.from_json(record.recipe),
        estimates=record.estimates,
        artefact=folder / record.onnx,
        weights=folder / record.state,
        notes=record.notes,
        created=record.created,
        verdict=" ".join([str(record.metadata.get("verdict", "")), *slower(devices, record.id)]).strip(),
        machine=str(record.metadata.get("machine", "")),
        written=json.loads(record.metadata.get(SAMPLES, "{}")),
        made=made if isinstance(made := record.metadata.get(MADE), dict) else {},
        taken=_taken(record.metadata.get(TAKEN)),
        elsewhere=by_variant(devices).get(record.id, {}),
        names=names,
        problem=storage.problem if storage else problem,
    )


def _taken(found: object) -> dict[str, float]:
    """What a row says that its making took: nothing where that cannot be read, since nothing measured depends on it."""
    try:
        read = json.loads(found) if isinstance(found, str) else {}
    except ValueError:
        return {}
    pairs = read.items() if isinstance(read, dict) else ()
    return {key: value for key, value in pairs if isinstance(value, (int, float)) and 0 <= value < float("inf")}


def answered(stored: Mapping[str, str]) -> tuple[dict[str, Device], list[str]]:
    """What devices answered, by id, and a sentence for each whose answer cannot be read."""
    found, notes = {}, []
    for identity, text in stored.items():
        try:
            found[identity] = Device.from_json(identity, text)
        except BadFile as error:
            notes.append(f"{error} It is left out; everything else is here.")
    return found, notes


class Keeping(ABC):
    """The part of a `Study` that takes in what is stored, and names, tags, annotates and deletes variants."""

    _storage: Storage
    _variants: dict[str, Variant]
    _unreadable: dict[str, str]  # rows that could not be read: a sentence by id
    _names: Names
    _devices: dict[str, Device]
    notes: list[str]
    _lock: threading.Lock

    @abstractmethod
    def _own(self, variant: Variant | str) -> Variant:
        """The variant itself, which must be one of this study's."""

    @abstractmethod
    def find(self, recipe: Recipe) -> Variant | None:
        """The finished variant of a recipe, or None."""

    @abstractmethod
    def _variant(self, record: Record) -> Variant:
        """The variant of a stored row."""

    def rename(self, variant: Variant | str, name: str) -> None:
        """Call a variant, or the one of this id, otherwise; "" gives it the name of its recipe back.

        Raises: `BadValue` for a name that another variant has, `StorageFailed`.
        """
        name, own = _text("name", name), self._labelled(variant)
        if name and self._names.taken(name, own.id):
            raise BadValue(f"Another variant is called {name!r} already. Choose another name.")
        self._label(own, replace(self._names.label(own.id), name=name))

    def tag(self, variant: Variant | str, *tags: str) -> None:
        """Put tags on a variant, beside those that it has. Raises: `BadValue`, `StorageFailed`."""
        new, own = [_text("tag", tag) for tag in tags], self._labelled(variant)
        if not all(new):
            raise BadValue("A tag is empty. Give it a word: study.tag(variant, 'best').")
        label = self._names.label(own.id)
        self._label(own, replace(label, tags=tuple(dict.fromkeys([*label.tags, *new]))))

    def untag(self, variant: Variant | str, *tags: str) -> None:
        """Take tags off a variant; without any named, all. Raises: `BadValue`, `StorageFailed`."""
        own = self._labelled(variant)
        label = self._names.label(own.id)
        self._label(own, replace(label, tags=tuple(one for one in label.tags if tags and one not in tags)))

    def annotate(self, variant: Variant | str, text: str) -> None:
        """Write a text beside a variant, in the place of an earlier one. Raises: `BadValue`, `StorageFailed`."""
        if not isinstance(text, str):
            raise BadValue(f"An annotation is a text, got {text!r}.")
        own = self._labelled(variant)
        self._label(own, replace(self._names.label(own.id), text=text))

    def archive(self, variant: Variant | str, on: bool = True) -> None:
        """Put a variant aside, or back: it stays in the study, and leaves the screen's table and charts.

        Raises: `BadValue` for the original, which all others are compared with, `StorageFailed`.
        """
        own = self._labelled(variant)
        if on and not own.recipe.steps:
            raise BadValue("The original is what all others are compared with. It cannot be archived.")
        self._label(own, replace(self._names.label(own.id), archived=bool(on)))

    def delete(self, variant: Variant | str) -> None:
        """Take a variant out of the study, with its files; those that another variant shares stay.

        By its id a row that cannot be read is deleted too.
        Raises: `BadValue` for the original while others are compared with it, `UnknownName`, `StorageFailed`.
        """
        identity = variant if isinstance(variant, str) and variant in self._unreadable else self._own(variant).id
        with self._lock:
            own = self._variants.get(identity)
            if own is not None and not own.recipe.steps and len(self._variants) > 1:
                raise BadValue("The original is what all others are compared with. Delete those first.")
        self._storage.delete(identity)
        with self._lock:
            self._variants.pop(identity, None)
            self._names.labels.pop(identity, None)
            self._unreadable.pop(identity, None)
            self._name()

    def _whole(self, recipe: Recipe) -> Variant | None:
        """The finished variant of a recipe, where its files are what was measured."""
        found = self.find(recipe)
        return found if found is not None and found.whole else None

    def _restore(self) -> None:
        """Take in what is stored and not known here yet."""
        found = []
        for one in self._storage.records():
            known = self._variants.get(one.id)
            if isinstance(one, Record) and known and (known.artefact.name, known.weights.name) == (one.onnx, one.state):
                continue
            try:
                if isinstance(one, Damaged):
                    raise one.error
                found.append(self._variant(one))
            except (WorkbenchError, RecursionError) as error:
                self._unreadable.setdefault(one.id, unreadable(one.id, one.recipe, error))
        self._take(*found)

    def _recall(self) -> None:
        """Take in what users wrote on variants, and what devices answered."""
        self._names.labels = self._storage.labels()
        self._devices, wrong = answered(self._storage.devices())
        self.notes += wrong

    def _renew(self, *identities: str) -> None:
        """Read variants again, with what devices answered by now."""
        wanted = set(identities) & self._variants.keys()
        rows = [one for one in self._storage.records() if one.id in wanted] if wanted else []
        self._take(*(self._variant(one) for one in rows if isinstance(one, Record)))

    def _take(self, *variants: Variant) -> None:
        with self._lock:
            for one in variants:
                self._variants[one.id] = one
                self._unreadable.pop(one.id, None)
            self._name()

    def _labelled(self, variant: Variant | str) -> Variant:
        """The variant itself, once what other processes wrote on the study's variants is known."""
        own, labels = self._own(variant), self._storage.labels()
        with self._lock:
            self._names.labels = labels
            self._name()
        return own

    def _label(self, variant: Variant, label: Label) -> None:
        self._storage.label(variant.id, label)
        with self._lock:
            self._names.labels[variant.id] = label
            self._name()

    def _name(self) -> None:
        """Name the variants anew: what tells them apart depends on all of them."""
        self._names.update({identity: one.recipe for identity, one in self._variants.items()})


def _text(kind: str, text: str) -> str:
    """One line without blanks around it."""
    if not isinstance(text, str) or len(text) > _LONGEST or not text.isprintable():
        raise BadValue(f"A {kind} is one line of at most {_LONGEST} characters, got {text!r:.300}.")
    return text.strip()
