"""`.pt2`: what `torch.export.save` writes, read only where reading it can execute nothing.

torch (2.13) itself unpickles parts of such files where their own index asks for it, loads compiled libraries that lie
in them, evaluates the texts of sizes as Python, and calls functions by any name below `torch`. So the whole index is
looked through first, and only what plain networks need is let through.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.errors import BadFile, shown
from workbench.untrusted.guard import Guard
from workbench.untrusted.text import parse_json

#: Bytes and values of an index, and how deep its lists stand in each other.
BYTES, VALUES, DEPTH = 200 * 10**6, 10**7, 64
#: Files in an archive, without its first folder.
_PARTS = re.compile(
    r"models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|data/sample_inputs/model\.pt"
    r"|archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)|\.format_version"
    r"|\.storage_alignment"
)
#: Functions that a network may call: torch's operators, arithmetic on sizes, and blocks that only switch gradients.
_TARGETS = re.compile(
    r"torch\.ops\.aten\.(?!from_file)\w+(\.\w+)?|torch\.sym_\w+|math\.(ceil|floor|trunc|sqrt)"
    r"|_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_)"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast)"
)
#: Texts of sizes: symbols with numbers, and the functions that torch writes there.
_WORD = re.compile(r"[A-Za-z_][\w.]*")
_SYMBOL = re.compile(r"[suz]\d+|[su][bf]?\d*|Symbol|Integer|Eq|Ne|Lt|Le|Gt|Ge|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|"
                     r"CeilDiv|TruncToInt|ToFloat|IntTrueDiv|FloatTrueDiv|PowByNatural|Where|oo|int_oo|True|False|"
                     r"positive|integer|nonnegative|And|Or|Not")  # fmt: skip
_SIGNS = re.compile(r"[\w\s.+\-*/(),<>=~&|'\"]*")


def read_exported(path: Path) -> Any:
    """The `torch.export.ExportedProgram` of a file. Raises: `BadFile`, also for whatever could execute code."""
    if not path.is_file():
        raise BadFile(f"There is no file {path}.")
    with Guard(f"{path} is not a readable .pt2 file", "Write it with torch.export.save."):
        with zipfile.ZipFile(path) as archive:
            _check(archive, path)
        import torch

        return torch.export.load(str(path))


def _check(archive: zipfile.ZipFile, path: Path) -> None:
    names = set()
    for entry in archive.infolist():
        name = entry.filename.partition("/")[2]
        if not _PARTS.fullmatch(name) or entry.compress_type != zipfile.ZIP_STORED:
            raise BadFile(
                f"{path} holds {shown(entry.filename)}, which is no part of a plain network and may be code. Write it "
                "anew: torch.export.save(torch.export.export(network, inputs), path)."
            )
        names.add(name)
        if name.endswith(".json"):
            index = parse_json(archive.read(entry), f"{name} in {path}", size=BYTES, nodes=VALUES, depth=DEPTH)
            for key, value in _pairs(index):
                _check_value(key, value, path)
        elif name.endswith(".pt"):
            _check_pickle(archive.read(entry), path)
    if "models/model.json" not in names:
        raise BadFile(f"{path} holds no network. Write it with torch.export.save.")


def _pairs(index: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, however deep."""
    waiting = [index]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _check_value(key: str, value: Any, path: Path) -> None:
    if key == "use_pickle" and value is not False:
        raise BadFile(f"{path} has weights that only unpickling reads, which can run code. Save them as plain tensors.")
    called = key == "target" and isinstance(value, str) and not value.isidentifier()  # else it is a tensor's name
    if called and not _TARGETS.fullmatch(value):
        raise BadFile(f"{path} calls {shown(value)}, which is not known here. Leave it out of the network.")
    if key in {"expr_str", "hint_str"} and isinstance(value, str):
        words = [one for one in _WORD.findall(value) if not _SYMBOL.fullmatch(one)]
        if words or not _SIGNS.fullmatch(value) or len(value) > 1000:
            raise BadFile(f"{path} has the size {shown(value)}, which is no size.")


def _check_pickle(content: bytes, path: Path) -> None:
    """Example inputs are pickled tensors: torch reads them without running code where they are no more than that."""
    import torch

    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:
        raise BadFile(
            f"{path} has example inputs that are more than tensors, and reading them can run code. Write it anew with "
            "tensors alone as inputs."
        ) from error
