"""A network as a file: its graph as JSON in the metadata of a safetensors file, its tensors, one example input's shape.

Nothing is pickled and no class is needed to read it: only the layers and functions listed in `layers` and
`functions` can be built from it.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from workbench.errors import BadFile, StepFailed, shown
from workbench.models.architectures import BUNDLED
from workbench.models.graph import Graph, from_data, to_data
from workbench.models.model import Form, Model
from workbench.modules.calling import Inputs, flatten, tensors_map
from workbench.untrusted import Guard, check_version, parse_json, read_metadata, read_tensors

#: The version of the description.
VERSION = 2
#: Bytes and values that a description may have: of some 20,000 operations.
DESCRIPTION_BYTES, DESCRIPTION_VALUES = 12 * 10**6, 10**6
#: The most bytes of activations that one input of a network from a file may need at once.
MOST_ACTIVATIONS = 4 << 30
#: The most numbers in an input, and what they may be.
MOST_NUMBERS = 1 << 28
DTYPES = {name: getattr(torch, name) for name in ("float32", "int64", "int32", "int16", "int8", "uint8", "bool")}
ZOOS = ("torchvision", "timm")
#: How the names of an example's numbers begin in a file: no part of a network has such a name.
_NUMBERS = ".example."


def save_variant(module: nn.Module, model: Model, path: Path, **metadata: str) -> None:
    """Write a rewritten network of `model`: its graph, its tensors and `metadata` in one safetensors file.

    Raises: `StepFailed` when it holds something that cannot be written down as data.
    """
    if not isinstance(module, Graph):
        raise StepFailed(f"A {type(module).__name__} is no canonical network. Load it with wb.load first.")
    _write(module, model.example, path, {}, source=model.source, **metadata)


def restore(path: Path) -> Graph:
    """The network of a file that `save_variant` wrote. Raises: `BadFile`."""
    return _read(path)[0]


def save_form(form: Form, path: Path) -> None:
    """Write a network with the very numbers of its example, and what there is to know. Raises: `StepFailed`."""
    numbers = {f"{_NUMBERS}{index}": one for index, one in enumerate(flatten(form.example))}
    _write(form.graph, form.example, path, numbers, notes=json.dumps(form.notes))


def load_form(path: Path) -> Form:
    """What `save_form` wrote. Raises: `BadFile`."""
    graph, structure, metadata, numbers = _read(path)
    with Guard(f"{path} cannot be read"):
        waiting = iter([numbers[f"{_NUMBERS}{index}"] for index in range(len(numbers))])
        example = tensors_map(lambda _: next(waiting), _decode_example(structure["example"], path))
        return Form(graph, example, tuple(json.loads(metadata["notes"])))


def _write(graph: Graph, example: Inputs, path: Path, beside: dict[str, torch.Tensor], **texts: str) -> None:
    shared = _shared(graph)
    state = {k: v for k, v in graph.state_dict().items() if k not in shared} | beside
    structure = {"version": VERSION, "name": type(graph).__name__, "shared": shared, **to_data(graph)}
    structure["example"] = _encode_example(example)
    held = {k: v.detach().clone().contiguous() for k, v in state.items()}
    save_file(held, path, {"format": "pt", "structure": json.dumps(structure), **texts})


def load_variant(path: Path, *, by_name: bool = False) -> Model:
    """A network from a folder or `.safetensors` file that `wb.export` wrote.

    `by_name`: only variants of networks that are known by name.
    Raises: `BadFile`, also for a network whose activations would take more than `MOST_ACTIVATIONS`.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise BadFile(
            f"{path} holds no model.safetensors, which is what a network is read from. An export that can be loaded "
            "again is written by wb.export(variant, folder, format='safetensors')."
        )
    module, structure, metadata, _ = _read(file)
    source = metadata.get("source", "module")
    if by_name and source not in BUNDLED and source.partition(":")[0] not in ZOOS:
        raise BadFile(
            f"{file.name} was made from {shown(source)}, which is no network that is known by name here. Export a "
            "variant of a bundled network, or of one from torchvision or timm."
        )
    model = Model(module, _decode_example(structure.get("example"), file), f"{source} ({file.name})", str(file))
    _check_size(model, file)
    return model


def _read(path: Path) -> tuple[Graph, dict[str, Any], dict[str, str], dict[str, torch.Tensor]]:
    """The graph of a file, its description, its metadata, and tensors that are no part of the graph."""
    metadata = read_metadata(path)
    if "structure" not in metadata:
        raise BadFile(f"{path} carries no description of a network. Was it written by wb.export?")
    structure = parse_json(
        metadata["structure"], f"The description in {path}", size=DESCRIPTION_BYTES, nodes=DESCRIPTION_VALUES
    )
    version = check_version(structure, VERSION, str(path)) if isinstance(structure, dict) else None
    if version != VERSION:
        raise BadFile(f"{path} has a description of version {shown(version)}; this workbench reads version {VERSION}.")
    with Guard(f"The description in {path} cannot be read"):
        shared = {str(name): str(one) for name, one in structure["shared"].items()}
    module = from_data(structure)
    found, _ = read_tensors(path)
    state = {name: one for name, one in found.items() if not name.startswith(_NUMBERS)}
    fill(module, state | {name: state[one] for name, one in shared.items() if one in state}, path)
    for name, one in shared.items():
        _share(module, name, one)
    return module, structure, metadata, {name: one for name, one in found.items() if name not in state}


def fill(module: nn.Module, state: dict[str, torch.Tensor], path: Path) -> nn.Module:
    """Put tensors into a network that has none yet. Raises `BadFile` naming what does not fit."""
    try:
        module.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise BadFile(f"The weights in {path} do not fit the architecture: {str(error)[:1000]}") from error
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return module.eval()


def _shared(module: nn.Module) -> dict[str, str]:
    """Parameters that are another one under a second name, and the first name."""
    first: dict[int, str] = {}
    found = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            found[name] = first[id(parameter)]
        first.setdefault(id(parameter), name)
    return found


def _share(module: nn.Module, name: str, one: str) -> None:
    parent, _, leaf = name.rpartition(".")
    try:
        module.get_submodule(parent)._parameters[leaf] = module.get_parameter(one)
    except AttributeError as error:
        raise BadFile(f"The description shares {shown(name)} with {shown(one)}, which is not there.") from error


def _check_size(model: Model, file: Path) -> None:
    needed = model.network.totals.peak_activation_bytes
    if needed > MOST_ACTIVATIONS:
        raise BadFile(
            f"{file.name} describes a network that needs {needed / 1e9:.1f} GB for one input, more than the "
            f"{MOST_ACTIVATIONS / 1e9:.1f} GB that are allowed here."
        )


def _encode_example(example: Inputs) -> Any:
    """Shapes and types in the example's containers."""

    def one(tensor: torch.Tensor) -> Any:
        return {"shape": list(tensor.shape), "dtype": str(tensor.dtype).rpartition(".")[2]}

    made = tensors_map(one, example)
    return {"inputs": list(made) if isinstance(made, tuple) else made, "several": isinstance(example, tuple)}


def _decode_example(data: Any, path: Path) -> Inputs:
    def one(value: Any) -> Any:
        if isinstance(value, dict) and value.keys() == {"shape", "dtype"}:
            if prod(value["shape"]) > MOST_NUMBERS:
                raise BadFile(f"{path} describes an input of shape {shown(value['shape'])}, which is too large.")
            return torch.zeros(value["shape"], dtype=DTYPES[value["dtype"]])
        if isinstance(value, dict):
            return {key: one(inner) for key, inner in value.items()}
        return [one(inner) for inner in value]

    with Guard(f"The example in {path} cannot be read"):
        made = one(data["inputs"])
        found: Inputs = tuple(made) if data["several"] else made
    return found
