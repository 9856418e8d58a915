"""The canonical form of a network: what is behind `wb.load`, and what every step, plan and cost relies on.

A network of plain layers is followed directly (`symbolic`); any other goes through `torch.export` (`exported`).
Either way the result is a private `Graph`, in float32 on the CPU, that gave the original's outputs at two batch
sizes. The user's module is only read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from workbench.errors import BadValue, WorkbenchError
from workbench.models.exported import exported
from workbench.models.graph import Graph, unstorable
from workbench.models.in_place import out_of_place
from workbench.models.names import sound_names
from workbench.models.symbolic import symbolic
from workbench.modules.calling import Inputs, call, flatten, line_of, noise_like, shapes, tensors_map
from workbench.modules.snapshot import snapshot
from workbench.modules.tracing_lock import TRACING

Tensor = torch.Tensor

#: The canonical form's outputs may differ from the original's by this much, relative to the largest output.
TOLERANCE = 1e-5
_TRANSFORMED = (
    "transforms functions with torch.func (vmap, grad, jvp) in its forward, which torch.export does not take apart. "
    "Write what that computes for a whole batch with torch's other operations, or leave it to the code that calls it."
)


def canonical(module: nn.Module, example: Inputs, *, owned: bool = False) -> Graph:
    """The canonical form of `module`, checked against it on `example` (a batch of 1) and on noise, a batch of 3.

    `owned`: the module is nobody else's, in evaluation mode, and may become part of the graph.
    Raises: `BadValue` where the module does not run on the example, decides on values, or cannot be followed.
    """
    with TRACING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the noise below, and whatever the network draws: the user's generator stays as it is
        trials = _trials(example)
        reference = module if owned else snapshot(module)
        wanted = [_outputs(reference, inputs, first=index == 0) for index, inputs in enumerate(trials)]
        found = _quick(module if owned else sound_names(snapshot(module)), example, trials, wanted)
        found = found if found is not None else _thorough(module, example, trials, wanted)
    for parameter in found.parameters():
        parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
    found.eval()
    return found


def _quick(module: nn.Module, example: Inputs, trials: list[Inputs], wanted: list[Any]) -> Graph | None:
    """By way of `symbolic`, which takes the layers over; None where that leads to no equal network."""
    try:
        graph = symbolic(module, example)
        out_of_place(graph)
        return graph if not _difference(graph, trials, wanted) else None
    except Exception:  # noqa: BLE001  # stand-ins for tensors meet code that was not written for them
        return None


def _thorough(module: nn.Module, example: Inputs, trials: list[Inputs], wanted: list[Any]) -> Graph:
    name = type(module).__name__
    try:
        graph = exported(sound_names(snapshot(module)), example)
    except WorkbenchError:
        raise
    except Exception as error:  # torch.export raises what the network's code raises, and much of its own
        raise BadValue(_why(name, error) if wanted[-1] is not None else _alone(name, trials)) from error
    out_of_place(graph)
    if wanted[-1] is not None and _difference(graph, trials, wanted):
        graph = _strict(module, example, trials, wanted) or graph
    missing = unstorable(graph.graph)
    if missing:
        raise BadValue(_unknown(name, missing))
    where = _difference(graph, trials, wanted)
    if where and wanted[-1] is None:
        raise BadValue(_alone(name, trials))
    if where:
        raise BadValue(
            f"{name} could not be followed: the network that was traced {where}. Does its forward draw random "
            "numbers, decide on sizes, or keep something from one call to the next? Take that out of it."
        )
    return graph


def _strict(module: nn.Module, example: Inputs, trials: list[Inputs], wanted: list[Any]) -> Graph | None:
    """By way of the network's code, for one that has the size of the batch in Python; None where that fails too."""
    try:
        graph = exported(sound_names(snapshot(module)), example, strict=True)
        out_of_place(graph)
        return graph if not _difference(graph, trials, wanted) else None
    except Exception:  # noqa: BLE001  # torch's compiler raises anything
        return None


def _trials(example: Inputs) -> list[Inputs]:
    """The example, or noise where its numbers are all the same and tell nothing; and a batch of three."""
    noise = noise_like(example)
    same = all(one.numel() and bool((one == one.flatten()[0]).all()) for one in flatten(example))
    return [noise if same else example, tensors_map(_three, noise)]


def _three(value: Tensor) -> Tensor:
    if not value.dim() or value.shape[0] != 1:
        return value
    return torch.cat([value, value.flip(-1), value * 0.5 if value.is_floating_point() else value])


def _run(module: Callable[..., Any], inputs: Inputs) -> Any:
    with torch.no_grad():
        return call(module, tensors_map(torch.clone, inputs))


def _outputs(module: nn.Module, inputs: Inputs, *, first: bool) -> list[Tensor] | None:
    """What the original gives; None for a batch that it does not take. Raises: `BadValue` for the example itself."""
    try:
        found = _run(module, inputs)
    except Exception as error:  # a forward raises anything
        if not first:
            return None
        raise BadValue(
            f"The model does not accept an input of shape {shapes(inputs)}: {type(error).__name__}: {error}. "
            "Pass an `example` of the shape that it was trained on, batch first."
        ) from error
    outputs = flatten(found)
    if not outputs:
        raise BadValue(
            f"The model gives a {type(found).__name__} without a tensor in it. Wrap it in a module that returns "
            "tensors, or a tuple, list or mapping of them."
        )
    return outputs


def _difference(graph: Graph, trials: list[Inputs], wanted: list[list[Tensor] | None]) -> str:
    """Where a graph's outputs differ from the original's, in words, or "" where they do not."""
    for inputs, expected in zip(trials, wanted, strict=True):
        try:
            found = flatten(_run(graph.forward, inputs))  # called as a module it prints its errors
        except Exception as error:  # noqa: BLE001  # as above
            return f"fails on inputs of shape {shapes(inputs)} ({type(error).__name__}: {error})"
        if expected is None:
            continue
        if [one.shape for one in found] != [one.shape for one in expected]:
            return f"gives outputs of other shapes for inputs of shape {shapes(inputs)}"
        apart = max(map(_apart, found, expected), default=0.0)
        if not apart <= TOLERANCE:
            return f"gives outputs that differ by {apart:.2g} (relative) for inputs of shape {shapes(inputs)}"
    return ""


def _apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest number; numbers that are not finite have to be the same."""
    a, b = found.double(), expected.double()
    same = torch.isclose(a, b, rtol=0, atol=0, equal_nan=True)
    both = a.isfinite() & b.isfinite()
    if not bool((same | both).all()):
        return float("inf")
    gap = torch.where(both, (a - b).abs(), torch.zeros_like(a))
    scale = b[b.isfinite()].abs().max() if bool(b.isfinite().any()) else torch.ones(())
    return float(gap.max() / scale.clamp_min(1e-6)) if gap.numel() else 0.0


def _alone(name: str, trials: list[Inputs]) -> str:
    return (
        f"{name} takes one input at a time, and no batch: inputs of shape {shapes(trials[-1])} fail. The workbench "
        "runs batches. Write its forward for any number of inputs, along the first axis."
    )


def _unknown(name: str, missing: str) -> str:
    """Why an operation that torch can follow cannot stay in a network."""
    if hasattr(torch._C._functorch, missing) or missing in {"_make_dual", "_unpack_dual"}:
        return f"{name} {_TRANSFORMED}"
    return f"{name} calls {missing}, which the workbench does not know. Leave it out of the network."


def _why(name: str, error: Exception) -> str:
    """Why a network cannot be followed, in a sentence, with the line of its code."""
    text = str(error)
    place = line_of(error)
    if "data-dependent" in text.lower() or "DataDependent" in type(error).__name__:
        return (
            f"{name} decides on the values of its tensors{place}. No exported file can hold such a decision. "
            "Write it without a Python branch, with torch.where, or leave it to the code that calls the network."
        )
    if "functorch" in text:
        return f"{name} {_TRANSFORMED}"
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return (
        f"{name} cannot be followed by torch.export{place}: {type(error).__name__}: {first[:300].rstrip('.')}. "
        "Its forward has to be made of torch operations alone."
    )
