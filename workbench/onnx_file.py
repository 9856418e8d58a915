"""Write a torch module as an ONNX file, and tell what such a file weighs."""

from __future__ import annotations

import contextlib
import copy
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from workbench.artefact.onnx_graph import Graph, tidy
from workbench.artefact.whole import whole_of
from workbench.errors import StepFailed
from workbench.modules.checking import TOLERANCE, difference, flatten, unsettled
from workbench.modules.tracing_lock import TRACING

if TYPE_CHECKING:
    import torch
    from torch import nn

#: The newest operator set that torch's quick exporter writes; ONNX Runtime runs and quantizes it.
OPSET = 20
INPUT, OUTPUT = "input", "logits"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def write_onnx(module: nn.Module, example: Any, path: Path) -> Path:
    """Write `module` in evaluation mode to `path`; input 'input' (batch, ...), output 'logits' (batch, ...).

    `example` is the one input (1, ...), a tuple of the positional ones, or a mapping of those by keyword, whose
    names the file's inputs bear. Nested outputs are written one after the other; further ones are 'output_2', ....
    Batch norms are folded, weights are inside the file, and nodes with weights bear the names of
    their torch layers. The file's outputs are compared with the module's at two batch sizes (and may be as far off as
    rounding takes the module's own). A network
    that is a file as a whole (`artefact.whole`) is written as it is. Otherwise torch's
    TorchScript exporter is tried first (0.1 to 0.4 s for the bundled networks, against 3 to 7 s for
    the newer one), the newer one where that fails or where its file computes something else.

    Raises: `StepFailed` when neither exporter gives a file that reproduces the module's outputs.
    """
    path, whole = Path(path), whole_of(module)
    if whole is not None:
        save_onnx(whole.model, path)
        return path
    module = copy.deepcopy(module).eval()
    call = _Call(module, example)
    reasons = []
    for export in (_export_script, _export_dynamo):
        try:
            model = _keep_pads(tidy(_quietly(export, module, call), call.runs))
            off = _difference(model, module, call)
        except OSError:  # the disk's word, not the exporter's
            raise
        except Exception as error:  # noqa: BLE001  # exporters raise anything; all reasons are told below
            first = next((line for line in str(error).splitlines() if line.strip()), "")
            reasons.append(f"{type(error).__name__}: {_COLOURS.sub('', first).strip().rstrip('.')}")
            continue
        if off <= TOLERANCE or off <= _unsettled(module, call):
            save_onnx(model, path)
            return path
        reasons.append(f"the file's outputs differ from the module's by {off:.2g} (relative)")
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


class _Call:
    """The arguments of a call, (1, ...) each, with the names that the file's inputs and outputs bear."""

    def __init__(self, module: nn.Module, example: Any) -> None:
        import torch

        named = isinstance(example, Mapping)
        self.args: tuple[Any, ...] = () if named else example if isinstance(example, tuple) else (example,)
        self.kwargs: dict[str, Any] = dict(example) if named else {}
        self.inputs = list(self.kwargs) or [INPUT, *(f"{INPUT}_{i}" for i in range(2, len(self.args) + 1))]
        #: The modules with weights that ran, in order: path and weight.
        self.runs: list[tuple[str, Any]] = []
        with torch.no_grad(), self._listening(module):
            count = len(flatten(module(*self.args, **self.kwargs)))
        self.outputs = [OUTPUT, *(f"output_{i}" for i in range(2, count + 1))]

    @contextlib.contextmanager
    def _listening(self, module: nn.Module) -> Iterator[None]:
        """Fill `runs` while a module runs."""
        import torch

        def listen(path: str, layer: nn.Module) -> None:
            weight = getattr(layer, "weight", None)
            if isinstance(weight, torch.Tensor) and weight.dim() > 1:
                self.runs.append((path, weight.detach().float().cpu().numpy()))

        named = [(path, m) for path, m in module.named_modules() if not isinstance(m, torch.jit.ScriptModule)]
        handles = [m.register_forward_pre_hook(lambda one, _, path=path: listen(path, one)) for path, m in named]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def batch(self, change: Callable[[torch.Tensor], torch.Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same call with other tensors."""
        return tuple(map(change, self.args)), {name: change(one) for name, one in self.kwargs.items()}


def _export_script(module: nn.Module, call: _Call, path: str) -> None:
    import torch

    forward = module.forward
    if len(call.outputs) > 1:  # this exporter takes no mappings; `module` is a copy
        module.forward = lambda *args, **kwargs: tuple(_tensors(forward(*args, **kwargs)))
    try:
        torch.onnx.export(
            module,
            call.args,
            path,
            kwargs=call.kwargs or None,
            dynamo=False,
            opset_version=OPSET,
            input_names=call.inputs,
            output_names=call.outputs,
            dynamic_axes={name: {0: "batch"} for name in (*call.inputs, *call.outputs)},
            do_constant_folding=False,  # `tidy` folds, and keeps the names of the weights
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    finally:
        if len(call.outputs) > 1:
            del module.forward


def _export_dynamo(module: nn.Module, call: _Call, path: str) -> None:
    import torch

    args, kwargs = call.batch(lambda one: torch.cat([one, one]))  # a batch of one would be taken for a constant
    batch = {0: torch.export.Dim("batch")}
    torch.onnx.export(
        module,
        args,
        path,
        kwargs=kwargs or None,
        dynamo=True,
        verbose=False,
        input_names=call.inputs,
        output_names=call.outputs,
        dynamic_shapes=dict.fromkeys(kwargs, batch) if kwargs else tuple(batch for _ in args),
        external_data=False,
    )


def _tensors(outputs: Any) -> list[torch.Tensor]:
    """The tensors of nested outputs, in the order of `flatten`."""
    if isinstance(outputs, Mapping):
        return [one for value in outputs.values() for one in _tensors(value)]
    if isinstance(outputs, list | tuple):
        return [one for value in outputs for one in _tensors(value)]
    return [] if outputs is None else [outputs]


def _quietly(export: Callable[[nn.Module, _Call, str], None], module: nn.Module, call: _Call) -> onnx.ModelProto:
    """Run an exporter without its chatter, one at a time, and read what it wrote."""
    import torch

    with tempfile.TemporaryDirectory() as folder, TRACING, _silence(), torch.no_grad():
        path = str(Path(folder) / "model.onnx")
        export(module, call, path)
        return onnx.load(path)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    import torch

    logger = logging.getLogger("torch.onnx")
    level, disabled, log = logger.level, logger.disabled, torch._C._jit_onnx_log
    logger.setLevel(logging.ERROR)
    torch._C._jit_onnx_log = lambda *_: None  # of a graph that it cannot export it prints every line
    try:
        with warnings.catch_warnings():  # stdout stays: it is the whole process's, and other threads print too
            warnings.simplefilter("ignore")
            yield
    finally:
        torch._C._jit_onnx_log = log
        logger.setLevel(level)
        logger.disabled = disabled


def _keep_pads(model: onnx.ModelProto) -> onnx.ModelProto:
    """Name the axes of paddings with zeros, in place, where something else than a sum over windows reads them.

    ONNX Runtime (1.31 and before) takes a padding with zeros into the max pool behind it, whose own padding is minus
    infinity: other outputs wherever a window holds negative numbers alone. It leaves alone what names its axes.
    """
    graph = Graph(model)
    readers = graph.readers()
    for node in graph.nodes:
        if node.op_type != "Pad" or len(node.input) > 3 or node.input[1] not in graph.constants:
            continue
        if {one.op_type for one in readers.get(node.output[0], [])} <= {"Conv", "AveragePool"}:
            continue
        axes = f"{node.output[0]}_axes"
        graph.put(axes, np.arange(graph.array(node.input[1]).size // 2, dtype=np.int64))
        node.input.extend([*[""] * (3 - len(node.input)), axes])
    graph.store()
    return model


def _difference(model: onnx.ModelProto, module: nn.Module, call: _Call) -> float:
    """The largest difference of any output, relative to that output's largest value, at batch 1 and 3."""
    import torch

    from workbench.runtimes.onnxruntime import feeds, open_session

    session = open_session(model.SerializeToString())
    entries = {one.name for one in session.get_inputs()}  # what the outputs do not depend on is no input
    worst = 0.0
    for args, kwargs in (call.batch(_lively), call.batch(_three)):
        with torch.no_grad():
            expected = flatten(module(*args, **kwargs))
        if not all(np.isfinite(one).all() for one in expected):
            return float("inf")
        given = dict(zip(call.inputs, (*args, *kwargs.values()), strict=True))
        found = session.run(None, feeds(session, {name: given[name].numpy() for name in entries}))
        worst = max(worst, difference(expected, found).relative)
    return worst


def _unsettled(module: nn.Module, call: _Call) -> float:
    import torch

    def run(inputs: Any) -> Any:
        args, kwargs = inputs
        return module(*args, **kwargs)

    with torch.no_grad():
        return max(unsettled(run, call.batch(change)) for change in (_lively, _three))


def _lively(example: torch.Tensor) -> torch.Tensor:
    """One input. An example of zeros says little, and norms blow up the rounding of what does not vary."""
    import torch

    one = example[:1]
    if not one.is_floating_point() or bool((one != one.flatten()[0]).any()):
        return one
    return torch.rand(one.shape, generator=torch.Generator().manual_seed(0)).to(one.dtype)


def _three(example: torch.Tensor) -> torch.Tensor:
    """Three inputs made of one."""
    import torch

    one = _lively(example)
    return torch.cat([one, one.flip(-1), one * 0.5 if one.is_floating_point() else one])
