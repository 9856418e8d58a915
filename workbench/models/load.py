"""`wb.load(source)`: a network from any accepted source."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from workbench.errors import BadFile, BadValue, UnknownName, WorkbenchError, unknown
from workbench.models.architectures import ARCHITECTURES
from workbench.models.model import Model
from workbench.untrusted import read_tensors

BUNDLED_INPUT = (1, 1, 28, 28)
IMAGENET_INPUT = (1, 3, 224, 224)
ZOOS = ("torchvision", "timm")
#: Files that `load` reads. None of them can carry code: nothing is unpickled.
FILES = (".safetensors",)


def load(source: str | Path | nn.Module, *, example: torch.Tensor | None = None, weights: str | None = None) -> Model:
    """A network, in evaluation mode and on the CPU.

    `source` is the name of a bundled network (`wb.catalog()` lists them), `"torchvision:resnet18"` or
    `"timm:mobilenetv3_small_050"` (where those packages are installed), a folder or `.safetensors` file
    that `wb.export` wrote, or an `nn.Module` together with `example`, one input with a batch of 1.

    `weights`: for a bundled network the path of a `.safetensors` file with other weights of the same
    architecture; for torchvision and timm what their own constructors take (`"DEFAULT"`), nothing for
    random weights.

    Raises: `UnknownName`, `BadFile`, `BadValue`.
    """
    if isinstance(source, nn.Module):
        return _from_module(source, example)
    name = str(source)
    if name in ARCHITECTURES:
        return _bundled(name, weights)
    zoo, _, rest = name.partition(":")
    if zoo in ZOOS and rest:
        return _from_zoo(zoo, rest, weights, example)
    path = Path(name)
    if path.is_dir() or path.suffix in FILES:
        from workbench.models.structure import load_variant

        return load_variant(path)
    if path.suffix in {".onnx", ".pt2", ".pt", ".pth"}:
        raise BadFile(
            f"{name}: files of type {path.suffix} cannot be loaded in this version. "
            "Load the network in torch and pass it: wb.load(module, example=...)."
        )
    raise unknown("model", name, [*ARCHITECTURES, *(f"{z}:<name>" for z in ZOOS)])


def bundled_path(name: str) -> Path:
    """The file of a bundled network's weights."""
    return Path(__file__).with_name(f"{name}.safetensors")


def read_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors (float32) and the metadata of a safetensors file. Raises `BadFile`."""
    return read_tensors(path)


def fill(module: nn.Module, state: dict[str, torch.Tensor], path: Path) -> nn.Module:
    """Put weights into an architecture. Raises `BadFile` naming what does not fit."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise BadFile(f"The weights in {path} do not fit the architecture: {str(error)[:1000]}") from error
    return module.eval()


def _bundled(name: str, weights: str | None) -> Model:
    path = Path(weights) if weights else bundled_path(name)
    state, _ = read_state(path)
    module = fill(ARCHITECTURES[name](), state, path)
    return Model(module, torch.zeros(BUNDLED_INPUT), name, name if not weights else f"{name} with {path.name}")


def _from_module(module: nn.Module, example: torch.Tensor | None) -> Model:
    if example is None:
        raise BadValue("A network given as an nn.Module needs example=, one input with a batch of 1.")
    if example.dim() < 2 or example.shape[0] != 1:
        raise BadValue(f"example has shape {tuple(example.shape)}; it must be one input with a batch of 1 in front.")
    for name, tensor in module.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise BadValue(f"The weight {name!r} holds NaN or infinite values. Load a sound checkpoint.")
    model = Model(module.eval(), example.detach().float().cpu(), type(module).__name__, "module")
    _ = model.network  # an example of the wrong shape is said here, not in the middle of a study
    return model


def _from_zoo(zoo: str, name: str, weights: str | None, example: torch.Tensor | None) -> Model:
    package = _import_zoo(zoo)
    try:
        module = _torchvision(package, name, weights) if zoo == "torchvision" else _timm(package, name, weights)
    except WorkbenchError:
        raise
    except Exception as error:  # the zoos raise whatever their downloaders raise
        raise BadFile(
            f"{zoo} could not give the weights {weights!r} of {name!r}: {error}. "
            "Without weights= the network is made with random weights."
        ) from error
    shape = (1, *getattr(module, "default_cfg", {}).get("input_size", IMAGENET_INPUT[1:]))
    return Model(module.eval(), torch.zeros(shape) if example is None else example, name, f"{zoo}:{name}")


def _import_zoo(zoo: str) -> ModuleType:
    try:
        return importlib.import_module(zoo)
    except ImportError as error:
        raise UnknownName(f"{zoo} is not installed. Install it to load its networks: pip install {zoo}.") from error
    except RuntimeError as error:
        raise UnknownName(f"{zoo} does not fit the installed torch: {error}. Install a {zoo} built for it.") from error


def _torchvision(package: Any, name: str, weights: str | None) -> nn.Module:
    models = package.models
    if name not in models.list_models(module=models):
        raise unknown("torchvision model", name, models.list_models(module=models))
    module: nn.Module = models.get_model(name, weights=weights)
    return module


def _timm(package: Any, name: str, weights: str | None) -> nn.Module:
    if name not in package.list_models():
        raise unknown("timm model", name, package.list_models())
    module: nn.Module = package.create_model(name, pretrained=weights is not None)
    return module
