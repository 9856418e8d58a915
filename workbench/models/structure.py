"""A rewritten network as data: which layers of the original were replaced, by what, and the weights.

Nothing is pickled: the description is JSON in the metadata of a safetensors file, and only the layer
types listed here can be built from it.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from workbench.errors import BadFile, StepFailed, shown
from workbench.models.architectures import ARCHITECTURES
from workbench.models.load import ZOOS, fill, load, read_state
from workbench.models.model import Model
from workbench.untrusted import Guard, parse_json, read_metadata

CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
POOL = ("kernel_size", "stride", "padding")

#: Every layer type that a description may name, and the attributes its constructor takes.
LAYER_TYPES: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    t.__name__: (t, arguments)
    for t, arguments in (
        (nn.Conv1d, CONV),
        (nn.Conv2d, CONV),
        (nn.ConvTranspose2d, (*CONV[:-1], "output_padding", "padding_mode")),
        (nn.Linear, ("in_features", "out_features")),
        (nn.BatchNorm1d, NORM),
        (nn.BatchNorm2d, NORM),
        (nn.ReLU, ()),
        (nn.ReLU6, ()),
        (nn.Hardswish, ()),
        (nn.SiLU, ()),
        (nn.Identity, ()),
        (nn.Flatten, ("start_dim", "end_dim")),
        (nn.Unflatten, ("dim", "unflattened_size")),
        (nn.Dropout, ("p",)),
        (nn.AdaptiveAvgPool2d, ("output_size",)),
        (nn.AvgPool2d, POOL),
        (nn.MaxPool2d, POOL),
    )
}
#: Bytes of one description; an axis or a setting of a layer; activations beside those of the original.
DESCRIPTION_BYTES, LARGEST, ACTIVATIONS, LEAST_ACTIVATIONS = 4 * 10**6, 2**20, 16, 32 * 10**6
WITH_BIAS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def register(layer: type[nn.Module], arguments: tuple[str, ...]) -> type[nn.Module]:
    """Let variants contain a layer type of our own; `arguments` are its constructor's, kept as attributes."""
    LAYER_TYPES[layer.__name__] = (layer, arguments)
    return layer


def describe(original: nn.Module, rewritten: nn.Module) -> dict[str, Any]:
    """The replaced layers by path, each as `{"type", "arguments"}` or a sequence of named children.

    Raises: `StepFailed` when a replacement contains a layer type that cannot be written down.
    """
    return dict(_differences(original, rewritten, ""))


def rebuild(original: nn.Module, structure: dict[str, Any]) -> nn.Module:
    """A copy of `original` with the described layers in place; their weights are fresh.

    Raises: `BadFile` when the description does not fit this network.
    """
    module = copy.deepcopy(original)
    for path, description in structure.items():
        new = _build(path, description)
        if not path:
            return new
        parent, _, leaf = path.rpartition(".")
        try:
            owner = module.get_submodule(parent)
            owner.get_submodule(leaf)  # a layer, and not something else that a module has under this name
        except AttributeError as error:
            raise BadFile(f"The description replaces a layer {path!r} that this network does not have.") from error
        setattr(owner, leaf, new)
    return module


def save_variant(module: nn.Module, model: Model, path: Path, **facts: str) -> None:
    """Write a rewritten network: weights, structure and `facts` in one safetensors file."""
    # Tied weights appear once per name: a copy each, since safetensors refuses shared memory.
    state = {k: v.detach().clone().contiguous() for k, v in module.state_dict().items()}
    structure = json.dumps(describe(model.module, module))
    save_file(state, path, {"format": "pt", "source": model.source, "structure": structure, **facts})


def restore(model: Model, path: Path) -> nn.Module:
    """The rewritten network of a file that `save_variant` wrote, built from its original.

    Raises: `BadFile`.
    """
    state, metadata = read_state(path)
    if "structure" not in metadata:
        raise BadFile(f"{path} carries no description of a variant. Was it written by wb.export?")
    structure = parse_json(metadata["structure"], f"The description in {path}", size=DESCRIPTION_BYTES, nodes=10**5)
    if not isinstance(structure, dict):
        raise BadFile(f"The description in {path} is {shown(structure)}, not layers by their names.")
    _check_shapes(structure, state, path)
    return fill(rebuild(model.module, structure), state, path)


def _check_shapes(structure: dict[str, Any], state: dict[str, torch.Tensor], path: Path) -> None:
    """Raise `BadFile` where the layers described are not those of the weights, before memory is taken for them."""
    for place, description in structure.items():
        with torch.device("meta"):
            built = _build(place, description)
        for name, tensor in built.state_dict(prefix=f"{place}." if place else "").items():
            if name not in state or state[name].shape != tensor.shape:
                raise BadFile(f"{path.name}: the description and the weights of {name!r} do not fit each other.")


def load_variant(path: Path, *, by_name: bool = False) -> Model:
    """A network from a folder or `.safetensors` file that `wb.export` wrote.

    `by_name`: take the original from among the networks that are known by name, and read no other file of this
    machine; for files of strangers.

    Raises: `BadFile`, also when the original was given as a module in memory and cannot be loaded by name.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    metadata = read_metadata(file)
    source = metadata.get("source", "module")
    if source == "module":
        raise BadFile(
            f"{file} was made from a network that was given as a module, so its architecture is not on file. "
            "Load the original and use workbench.models.structure.restore(model, path)."
        )
    if by_name and source not in ARCHITECTURES and source.partition(":")[0] not in ZOOS:
        raise BadFile(
            f"{file.name} was made from {source!r}, which is no network that is known by name here. Export a variant "
            "of a bundled network, or of one from torchvision or timm."
        )
    if Path(source).resolve() in {file.resolve(), path.resolve()}:
        raise BadFile(f"{file} says that it was made from itself. Export the variant again.")
    with Guard(f"The network in {file} cannot be built"):
        original = load(source)
        found = Model(restore(original, file).eval(), original.example, f"{original.name} ({file.name})", str(file))
        _check_activations(found, original, file)
    return found


def _check_activations(model: Model, original: Model, file: Path) -> None:
    """Raise `BadFile` where one input takes far more memory than the original takes, before anything is run."""
    peak, most = (one.network.totals.peak_activation_bytes for one in (model, original))
    if peak > max(ACTIVATIONS * most, LEAST_ACTIVATIONS):
        raise BadFile(
            f"{file.name} describes a network that takes {peak / 10**6:,.0f} MB for one input, where the original "
            f"takes {most / 10**6:,.1f} MB. That is no smaller network; it is not run here."
        )


def _differences(original: nn.Module, rewritten: nn.Module, path: str) -> list[tuple[str, Any]]:
    children, new_children = dict(original.named_children()), dict(rewritten.named_children())
    same = type(original) is type(rewritten) and children.keys() == new_children.keys()
    if not same or (not children and _arguments(original) != _arguments(rewritten)):
        return [(path, _description(rewritten, path))]
    found: list[tuple[str, Any]] = []
    for name, child in new_children.items():
        found += _differences(children[name], child, f"{path}.{name}".lstrip("."))
    return found


def _arguments(module: nn.Module) -> dict[str, Any]:
    arguments = {name: getattr(module, name) for name in LAYER_TYPES.get(type(module).__name__, (None, ()))[1]}
    if isinstance(module, WITH_BIAS):
        arguments["bias"] = module.bias is not None
    return arguments


def _description(module: nn.Module, path: str) -> dict[str, Any]:
    if type(module) is nn.Sequential:
        return {
            "type": "Sequential",
            "children": {n: _description(c, f"{path}.{n}") for n, c in module.named_children()},
        }
    if type(module).__name__ not in LAYER_TYPES:
        raise StepFailed(f"The layer {path!r} became a {type(module).__name__}, which cannot be stored as data.")
    return {"type": type(module).__name__, "arguments": _arguments(module)}


def _build(path: str, description: dict[str, Any]) -> nn.Module:
    try:
        if description["type"] == "Sequential":
            built = nn.Sequential()
            for name, child in description["children"].items():
                built.add_module(name, _build(f"{path}.{name}", child))
            return built
        layer, known = LAYER_TYPES[description["type"]]
        arguments = {k: _argument(k, v, known) for k, v in description["arguments"].items()}
        with torch.random.fork_rng():  # the fresh weights are overwritten: do not disturb the user's seed
            return layer(**arguments)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, ZeroDivisionError, OverflowError) as error:
        raise BadFile(f"The description of layer {path!r} cannot be built: {shown(error)}.") from error


def _argument(name: str, value: Any, known: tuple[str, ...]) -> Any:
    """A setting of a layer that may be set, of a bounded size. Raises `ValueError`, which the caller explains."""
    if name not in {*known, "bias"}:
        raise ValueError(f"{name} is no setting that is stored")
    values = value if isinstance(value, (list, tuple)) else [value]
    if len(values) > 8 or not all(one is None or isinstance(one, (bool, int, float, str)) for one in values):
        raise ValueError(f"{name} is {shown(value)}")
    if any(isinstance(one, (int, float)) and not abs(one) <= LARGEST for one in values):
        raise ValueError(f"{name} is {shown(value)}, which is too large")
    return tuple(values) if isinstance(value, list) else value
