"""Write a torch module as an ONNX file, and tell what such a file weighs."""

from __future__ import annotations

import contextlib
import copy
import logging
import re
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from workbench.errors import StepFailed
from workbench.onnx_graph import tidy

if TYPE_CHECKING:
    import torch
    from torch import nn

#: The newest operator set that torch's quick exporter writes; ONNX Runtime runs and quantizes it.
OPSET = 20
#: Outputs of the file and of the module may differ by this much, relative to the largest output.
TOLERANCE = 1e-4

INPUT, OUTPUT = "input", "logits"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_exporting = threading.Lock()  # the exporters patch torch and the logging module globally


def write_onnx(module: nn.Module, example: torch.Tensor, path: Path) -> Path:
    """Write `module` in evaluation mode to `path`; input 'input' (batch, ...), output 'logits' (batch, ...).

    Batch norms are folded, weights are inside the file, and nodes with weights bear the names of
    their torch layers. The file's outputs are compared with the module's at two batch sizes. torch's
    TorchScript exporter is tried first (0.1 to 0.4 s for the bundled networks, against 3 to 7 s for
    the newer one), the newer one where that fails or where its file computes something else.

    Raises: `StepFailed` when neither exporter gives a file that reproduces the module's outputs.
    """
    module = copy.deepcopy(module).eval()
    path = Path(path)
    reasons, named = [], list(module.named_modules(remove_duplicate=False))
    for export in (_export_script, _export_dynamo):
        try:
            model = tidy(_quietly(export, module, example), [name for name, _ in named])
            difference = _difference(model, module, example)
        except Exception as error:  # noqa: BLE001  # exporters raise anything; all reasons are told below
            first = next((line for line in str(error).splitlines() if line.strip()), "")
            reasons.append(f"{type(error).__name__}: {_COLOURS.sub('', first).strip().rstrip('.')}")
            continue
        if difference <= TOLERANCE:
            save_onnx(model, path)
            return path
        reasons.append(f"the file's outputs differ from the module's by {difference:.2g} (relative)")
    raise StepFailed(
        f"{type(module).__name__} cannot be written as ONNX: {'; '.join(reasons)}. "
        "Use operations that torch.onnx supports, and no Python branches on tensor values."
    )


def save_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Write beside the target and rename, so that no half-written file is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    onnx.save_model(model, str(part))
    part.replace(path)


def file_bytes(path: Path) -> int:
    """Bytes of an ONNX file and of the external data files that it refers to.

    Raises: `FileNotFoundError` when a file is missing.
    """
    path = Path(path)
    model = onnx.load(str(path), load_external_data=False)
    places = {
        entry.value
        for tensor in model.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    total: int = path.stat().st_size + sum((path.parent / place).stat().st_size for place in sorted(places))
    return total


def _export_script(module: nn.Module, example: torch.Tensor, path: str) -> None:
    import torch

    torch.onnx.export(
        module,
        (example,),
        path,
        dynamo=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        do_constant_folding=False,  # `tidy` folds, and keeps the names of the weights
        training=torch.onnx.TrainingMode.PRESERVE,
    )


def _export_dynamo(module: nn.Module, example: torch.Tensor, path: str) -> None:
    import torch

    torch.onnx.export(
        module,
        (torch.cat([example, example]),),  # a batch of one would be taken for a constant
        path,
        dynamo=True,
        verbose=False,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
    )


def _quietly(
    export: Callable[[nn.Module, torch.Tensor, str], None], module: nn.Module, example: torch.Tensor
) -> onnx.ModelProto:
    """Run an exporter without its chatter, one at a time, and read what it wrote."""
    import torch

    with tempfile.TemporaryDirectory() as folder, _exporting, _silence(), torch.no_grad():
        path = str(Path(folder) / "model.onnx")
        export(module, example, path)
        return onnx.load(path)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    logger = logging.getLogger("torch.onnx")
    level, disabled = logger.level, logger.disabled
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():  # stdout stays: it is the whole process's, and other threads print too
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        logger.disabled = disabled


def _difference(model: onnx.ModelProto, module: nn.Module, example: torch.Tensor) -> float:
    """The largest difference of outputs, relative to the largest output, at batch 1 and 3."""
    import torch

    from workbench.runtimes.onnxruntime import open_session

    session = open_session(model.SerializeToString())
    batch = torch.cat([example[:1], example[:1].flip(-1), example[:1] * 0.5])
    worst = 0.0
    for inputs in (example[:1], batch):
        with torch.no_grad():
            expected = module(inputs).numpy()
        got: Any = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0]
        if got.shape != expected.shape or not np.isfinite(expected).all():
            return float("inf")
        worst = max(worst, float(np.abs(got - expected).max() / max(1.0, np.abs(expected).max())))
    return worst
