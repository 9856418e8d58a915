"""`.pt2`: the torch network as `torch.export` keeps it, which runs without the workbench."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from workbench.errors import BadFile, BadValue
from workbench.exporters.base import Exporter, register
from workbench.exporters.safetensors import refuse_lowered
from workbench.modules.calling import Inputs, arguments, tensors_map
from workbench.modules.tracing_lock import TRACING

if TYPE_CHECKING:
    from workbench.runtimes import Session
    from workbench.variant import Variant

#: Runtimes that plan their memory beforehand plan for this many inputs.
LARGEST_BATCH = 256


class Pt2(Exporter):
    """The torch network with its operations, for batches of any size up to `LARGEST_BATCH`."""

    name, title, runtime = "pt2", "torch.export", "torch"
    runs_code = "what torch unpickles"

    def write(self, variant: Variant, folder: Path) -> Path:
        """The program. Raises: `BadValue` for what is not in the torch network, or torch cannot export."""
        return write_program(variant, folder / "model.pt2")

    def load(self, file: Path) -> Session:
        """What torch makes of it. Raises: `BadFile`, before torch says the same on the screen."""
        if not zipfile.is_zipfile(file):
            raise BadFile(f"{file.name} is no archive that torch.export wrote. Was it copied whole?")
        return super().load(file)


def write_program(variant: Variant, path: Path) -> Path:
    """Write a variant's torch network with `torch.export`, for batches of any size.

    Raises: `BadValue` for a recipe whose result is not in the torch network, or where torch cannot export it.
    """
    import torch

    refuse_lowered(variant, "torch's program would be")
    # A batch of one would be taken for a constant.
    args, kwargs = arguments(cast("Inputs", tensors_map(lambda one: torch.cat([one, one]), variant.model.example)))
    reasons = []
    for size in (torch.export.Dim("batch", max=LARGEST_BATCH), torch.export.Dim.AUTO):
        try:
            with TRACING, torch.no_grad():
                first = {0: size}
                sizes = dict.fromkeys(kwargs, first) if kwargs else tuple(first for _ in args)
                program = torch.export.export(variant.module, args, kwargs, dynamic_shapes=sizes)
        except Exception as error:  # noqa: BLE001  # the reason is told below
            reasons.append(next((line for line in str(error).splitlines() if line.strip()), type(error).__name__))
            continue
        torch.export.save(program, path)
        return path
    raise BadValue(f"torch.export cannot export {variant.name}: {reasons[0]}")


register(Pt2())
