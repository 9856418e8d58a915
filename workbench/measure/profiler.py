"""Time of every operator, from ONNX Runtime's profiler, mapped back to the layers of the model."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from workbench.artefact.onnx_graph import WEIGHTED, scope
from workbench.errors import BadFile, BadValue
from workbench.interface.arguments import check_kinds
from workbench.runtimes.base import noise
from workbench.runtimes.onnxruntime import OnnxSession, feeds

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("layer", "operator", "node", "ms", "share", "output")
_SUFFIX = "_kernel_time"


@check_kinds
def profile(artefact: Path, *, batch: int = 1, threads: int = 1, runs: int = 50) -> pd.DataFrame:
    """One row an operator that ONNX Runtime starts, in execution order; milliseconds are the median of `runs`.

    Columns: layer (of the model; "" for what the runtime added, such as a change of the maps' order), operator,
    node (its name in the optimised graph), ms, share, output (shape). The profiler itself costs about a
    microsecond an operator: compare rows, and take latencies from `Variant["latency_ms"]`.

    Raises: `BadFile` when ONNX Runtime refuses the artefact, `BadValue` for settings that make no sense.
    """
    import pandas as pd

    if batch < 1 or threads < 1 or runs < 1:
        raise BadValue(f"profile(batch={batch}, threads={threads}, runs={runs}): all must be at least 1.")
    with tempfile.TemporaryDirectory() as folder:
        events = _events(Path(artefact), Path(folder), batch, threads, runs)
        optimised = onnx.load(str(Path(folder) / "optimised.onnx"))
    layers = layers_of(onnx.load(str(artefact)), optimised)
    rows = [
        (layers.get(node, ""), operator, node, float(np.median(times)), shape)
        for node, (operator, times, shape) in events.items()
    ]
    table = pd.DataFrame(rows, columns=["layer", "operator", "node", "ms", "output"])
    table["share"] = table["ms"] / table["ms"].sum()
    return table[list(COLUMNS)]


def layers_of(artefact: onnx.ModelProto, optimised: onnx.ModelProto) -> dict[str, str]:
    """The layer of each node of the optimised graph: the nearest weighted node of the artefact that it took in.

    A node without weights, such as a pooling, is its own layer; what has no counterpart is left out.
    """
    writers = {name: node for node in artefact.graph.node for name in node.output}
    by_name = {node.name: node for node in artefact.graph.node}
    made = {_tensor(name) for node in optimised.graph.node for name in (node.name, *node.output)}
    made |= {name for one in optimised.graph.node if (node := by_name.get(_tensor(one.name))) for name in node.output}
    found = {}
    for node in optimised.graph.node:
        tensors = [_tensor(node.name), *map(_tensor, node.output)]
        start = next((writers[one] for one in tensors if one in writers), by_name.get(tensors[0]))
        if start is not None:
            found[node.name] = _nearest_weighted(start, writers, made) or scope(start.name) or start.name
    return found


def _nearest_weighted(start: onnx.NodeProto, writers: Mapping[str, onnx.NodeProto], made: set[str]) -> str:
    """Walk against the flow, not past tensors that other operators of the optimised graph make."""
    waiting, seen = [start], set()
    while waiting:
        node = waiting.pop(0)
        if node.op_type in WEIGHTED:
            return str(node.name)
        for name in node.input:
            if name in writers and name not in made and name not in seen:
                seen.add(name)
                waiting.append(writers[name])
    return ""


def _tensor(name: str) -> str:
    """The artefact's name of a tensor or node that ONNX Runtime renamed when it changed the maps' order."""
    return re.sub(r"(_nchwc|_nhwc)?(_token_\d+)?$", "", name)


def _events(
    artefact: Path, folder: Path, batch: int, threads: int, runs: int
) -> dict[str, tuple[str, list[float], tuple[int, ...]]]:
    """Operator, milliseconds of each run and output shape by node, in order of execution."""
    session = _session(artefact, folder, threads)
    inputs = feeds(session, noise(OnnxSession(session), batch, 0))
    for _ in range(runs + 5):
        session.run(None, inputs)
    events = json.loads(Path(session.end_profiling()).read_text())
    found: dict[str, tuple[str, list[float], tuple[int, ...]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            facts = event["args"]
            node = event["name"].removesuffix(_SUFFIX)
            entry = found.setdefault(node, (facts["op_name"], [], _output(facts)))
            entry[1].append(event["dur"] / 1e3)
    return {node: (operator, times[5:] or times, output) for node, (operator, times, output) in found.items()}


def _output(facts: Mapping[str, Any]) -> tuple[int, ...]:
    shapes = facts.get("output_type_shape") or [{}]
    return tuple(next(iter(shapes[0].values()), ()))


def _session(artefact: Path, folder: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    try:
        return onnxruntime.InferenceSession(str(artefact), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BadFile(f"ONNX Runtime refuses the artefact {artefact.name!r}: {error}") from error
