"""The harm of every option, kept in the study's folder: a search that is taken up again does not measure it twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from workbench.files.disk import told, workspace
from workbench.search.harm import Harm
from workbench.search.menu import Menu

FOLDER = "searches"
#: Of what harm means: numbers of another form are measured anew.
FORM = 4


def remembered(folder: Path, about: str, menu: Menu, measure: Callable[[], Harm]) -> Harm:
    """The harm of a menu's options in a study's folder, `about` this network and these data; measured where not known.

    Raises: `StorageFailed`; whatever `measure` raises.
    """
    widths = [[one.group.layers[0], *one.kept] for one in menu.widths]
    chains = sorted({(slot.layer, *one.chain) for slot in menu.slots for one in slot.options})
    text = json.dumps([FORM, about, bool(menu.lowering), widths, [list(map(str, one)) for one in chains]])
    path = folder / FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    known = _read(path)
    if known is not None:
        return known
    harm = measure()
    tried = {(slot.layer, one.chain.family) for slot in menu.slots for one in slot.options if one.chain.family}
    # What there was no time to try is tried the next time.
    return _written(path, harm) if all((family, layer) in harm.chains for layer, family in tried) else harm


def _read(path: Path) -> Harm | None:
    """What a file holds; None where there is none, or it is not what was written."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        chains = {(family, layer): float(value) for family, layer, value in found["chains"]}
        return Harm(tuple(tuple(map(float, one)) for one in found["widths"]), chains)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _written(path: Path, harm: Harm) -> Harm:
    content = {"widths": harm.widths, "chains": [[*key, value] for key, value in harm.chains.items()]}
    with told(path, "Keeping what a search has measured"), workspace(path.parents[1]) as folder:
        path.parent.mkdir(exist_ok=True)
        part = folder / path.name
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(path)
    return harm
