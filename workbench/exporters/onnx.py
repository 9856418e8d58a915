"""ONNX: the artefact that was measured, as it is or in the operators of another opset."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from onnx import checker, defs, helper, version_converter

from workbench.errors import BadValue, shown
from workbench.exporters.base import Exporter, register

if TYPE_CHECKING:
    from workbench.variant import Variant

#: Before this opset shapes and axes were written in ways that hardly any reader has any more.
OLDEST = 7
_NO_ADAPTER = re.compile(r"No Adapter From Version \$(\d+) for (\w+)")


class Onnx(Exporter):
    """The measured file itself; in another `opset` a conversion of it, which is compared with it."""

    name, title = "onnx", "ONNX"

    def __init__(self, opset: int | None = None) -> None:
        self.opset = opset

    def at_opset(self, opset: int) -> Exporter:
        """As `Exporter.at_opset`."""
        newest = defs.onnx_opset_version()
        if type(opset) is not int or not OLDEST <= opset <= newest:
            raise BadValue(
                f"opset={shown(opset)} is none that can be written here. Give a whole number from {OLDEST} to {newest}."
            )
        return Onnx(opset)

    def write(self, variant: Variant, folder: Path) -> Path:
        """A copy, or the conversion. Raises: `BadValue` for an opset that cannot hold the graph."""
        target = folder / "model.onnx"
        if self.measured(variant) is not None:
            return Path(shutil.copy2(variant.onnx, target))
        assert self.opset is not None  # the artefact has one
        target.write_bytes(converted(onnx.load(variant.onnx), self.opset, variant.name).SerializeToString())
        return target

    def measured(self, variant: Variant) -> Path | None:
        """The artefact, where it is written in this opset."""
        if self.opset is None:
            return variant.onnx
        return variant.onnx if opset_of(onnx.load(variant.onnx, load_external_data=False)) == self.opset else None


def opset_of(model: onnx.ModelProto) -> int:
    """The opset of ONNX's own operators."""
    return next((int(one.version) for one in model.opset_import if one.domain in ("", "ai.onnx")), 1)


def converted(model: onnx.ModelProto, opset: int, name: str) -> onnx.ModelProto:
    """The same graph in operators of another opset, and in the oldest form of file that has it.

    Raises: `BadValue` for one that cannot hold the graph, with what stands in the way.
    """
    try:
        found = version_converter.convert_version(model, opset)
        found.ir_version = helper.find_min_ir_version_for(found.opset_import, ignore_unknown=True)
        checker.check_model(found)
    except Exception as error:  # the converter raises anything
        raise BadValue(
            f"{name} cannot be written in opset {opset}: {_reason(error)}. It was measured in opset {opset_of(model)}; "
            "choose one nearer to that, or leave opset out."
        ) from error
    return found


def _reason(error: Exception) -> str:
    """What the converter says, in words where it is the usual thing."""
    missing = _NO_ADAPTER.search(str(error))
    if missing:
        version, operator = missing.groups()
        return f"{operator}, as it is since opset {version}, cannot be told in older operators"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(lines[-1].rstrip(".")) if lines else type(error).__name__


register(Onnx())
