"""`wb.load(source)`: a network from any accepted source."""

from __future__ import annotations

import importlib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from workbench.errors import BadFile, BadValue, UnknownName, WorkbenchError, shown, unknown
from workbench.files.content import check_folder, digest
from workbench.interface.neutral import neutrally
from workbench.models.architectures import BUNDLED
from workbench.models.canonical import canonical
from workbench.models.hub import Repository, described, repository
from workbench.models.hub_modules import libraries, module_of
from workbench.models.kept import digest_of, kept
from workbench.models.model import Form, Model
from workbench.models.structure import ZOOS, fill, load_variant
from workbench.modules.calling import Inputs, as_example, tensors_map
from workbench.modules.unwrap import unwrap
from workbench.untrusted import read_tensors
from workbench.untrusted.exported_files import read_exported
from workbench.untrusted.onnx_files import weights_beside

IMAGENET_INPUT = (1, 3, 224, 224)
#: Files that `load` reads. None of them can carry code: nothing is unpickled.
FILES = (".safetensors", ".onnx")


@neutrally
def load(source: str | Path | nn.Module, *, example: Any = None, weights: str | None = None) -> Model:
    """A network in canonical form (`workbench.models.canonical`), in evaluation mode, in float32 and on the CPU.

    `source` is the name of a bundled network (`wb.catalog()` lists them), `"torchvision:resnet18"` or
    `"timm:mobilenetv3_small_050"` (where those packages are installed), `"hf:owner/name"` of the Hugging Face hub (with
    the extra `hf`; safetensors and configuration alone, see `workbench.models.hub`), a folder or `.safetensors` file
    that `wb.export` wrote, an `.onnx` file (opset 7 and up, see `workbench.models.from_onnx`), a `.pt2` file of
    `torch.export.save`, or an `nn.Module` together with `example`, one input with a batch of 1: a tensor, an
    array or a shape; a tuple or a dictionary of tensors for several inputs. The module is read and never changed.
    For files `example` chooses the sizes that they leave open.

    Following a network takes seconds. What came from a file, or from a collection with its weights, is kept in the
    user's cache folder by its content (`WORKBENCH_CACHE` names another folder, empty none; `WORKBENCH_CACHE_GB`
    bounds it) and read from there the next time.

    `weights`: for a bundled network the path of a `.safetensors` file with other weights of the same
    architecture; for torchvision and timm what their own constructors take (`"DEFAULT"`), nothing for
    random weights.

    Raises: `UnknownName`, `BadFile`, `BadValue`.

    >>> wb.load("fashion-mobilenet").shape
    (1, 28, 28)
    >>> wb.load(torch.nn.Linear(4, 2), example=(1, 4)).network.totals.macs
    8
    """
    if not isinstance(source, (str, Path)):
        return _from_module(source, example)
    name = str(source)
    if name in BUNDLED:
        return _bundled(name, weights)
    collection, _, rest = name.partition(":")
    if collection in ZOOS and rest:
        return _from_zoo(collection, rest, weights, example)
    if collection == "hf" and rest:
        return _from_hub(rest, weights, example)
    return _from_path(Path(name), example)


def _from_path(path: Path, example: Any) -> Model:
    kind = path.suffix.lower()
    if kind == ".onnx":
        return _from_onnx(path, example)
    if kind == ".pt2":
        return _from_exported(path, example)
    if path.is_dir() or path.suffix in FILES:
        if path.is_dir():
            check_folder(path)
        return load_variant(path)
    if kind in {".pt", ".pth", ".ckpt", ".pkl", ".bin"}:
        raise BadFile(
            f"{path}: files of type {path.suffix} may hold code that runs when they are read. Load the network in "
            "torch and pass it: wb.load(module, example=...); or write it as .onnx, or with torch.export.save as .pt2."
        )
    raise unknown("model", str(path), [*BUNDLED, *(f"{z}:<name>" for z in ZOOS), "hf:<owner>/<name>"])


def _from_onnx(path: Path, example: Any) -> Model:
    from workbench.models.from_onnx.convert import read  # it needs what is below this package

    files = [path, *weights_beside(path)]
    return _model(kept(["onnx", *map(digest, files)], example, lambda: read(path, example)), path.stem, str(path))


def _from_exported(path: Path, example: Any) -> Model:
    if not path.is_file():
        raise BadFile(f"There is no file {path}.")
    form = kept(["pt2", digest(path)], example, lambda: _exported_form(path, example))
    return _model(form, path.stem, str(path))


def _exported_form(path: Path, example: Any) -> Form:
    program = read_exported(path)
    own = program.example_inputs
    if example is None and own is None:
        raise BadValue(f"{path.name} keeps no example of its inputs. Pass example=, one input with a batch of 1.")
    args, named = own if example is None else ((), {})
    first = tensors_map(lambda one: one[:1] if one.dim() else one, named or args)
    inputs = example if example is not None else first[0] if not named and len(first) == 1 else first
    return _form(unwrap(program), as_example(inputs))


def _from_hub(name: str, weights: str | None, example: Any) -> Model:
    if weights is not None:
        raise BadValue(f"weights={shown(weights)} has no place here: hf:{name} brings its own.")
    repo = repository(name)
    called, source = name.rstrip("/").rpartition("/")[2], f"hf:{name}"
    if repo.onnx is not None:
        return replace(_from_onnx(repo.onnx, example), name=called, source=source)
    if described(repo):
        return replace(load_variant(repo.weights[0]), name=called, source=source)
    files = [one for one in (repo.config_file, repo.index, *repo.weights) if one is not None]
    content = ["hf", *libraries(), *map(digest, files)]
    return _model(kept(content, example, lambda: _hub_form(repo, example)), called, source)


def _hub_form(repo: Repository, example: Any) -> Form:
    module, own = module_of(repo)
    if example is None and own is None:
        raise BadValue(f"Nothing in {repo.name} tells what its network takes. Pass example=, one input.")
    return _form(module, as_example(own if example is None else example))


def bundled_path(name: str) -> Path:
    """The file of a bundled network's weights."""
    return Path(__file__).with_name(f"{name}.safetensors")


def _bundled(name: str, weights: str | None) -> Model:
    if weights is not None and not isinstance(weights, (str, Path)):
        raise BadValue(f"weights={shown(weights)} is no file. Give the path of a .safetensors file, or leave it out.")
    path = Path(weights) if weights else bundled_path(name)
    state, _ = read_tensors(path)
    with torch.device("meta"):
        module = BUNDLED[name]()
    example = torch.zeros(BUNDLED[name].shape)
    source = name if not weights else f"{name} with {path.name}"
    return Model(canonical(fill(module, state, path), example, owned=True), example, name, source)


def _from_module(source: Any, example: Any) -> Model:
    inputs, module = as_example(example), unwrap(source)
    return _model(_form(module, inputs), type(module).__name__, "module")


def _form(module: nn.Module, inputs: Inputs) -> Form:
    _check_weights(module)
    return Form(canonical(module, inputs), inputs)


def _model(form: Form, name: str, source: str) -> Model:
    model = Model(form.graph, form.example, name, source, form.notes)
    _ = model.network  # what cannot be read is said here, not in the middle of a study
    return model


def _check_weights(module: nn.Module) -> None:
    """Raise `BadValue` for weights without values, or with values that are none."""
    for name, parameter in module.named_parameters():
        if nn.parameter.is_lazy(parameter):
            raise BadValue(f"The weight {name!r} has no shape yet. Run the network once, then load it.")
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_meta:
            raise BadValue(f"The weight {name!r} is on the meta device, without values. Load a checkpoint first.")
        learnt = isinstance(tensor, nn.Parameter)  # a buffer may hold infinities: of a mask, or as limits of a range
        if tensor.is_floating_point() and bool((~tensor.isfinite() if learnt else tensor.isnan()).any()):
            raise BadValue(f"The weight {name!r} holds NaN or infinite values. Load a sound checkpoint.")


def _from_zoo(zoo: str, name: str, weights: str | None, example: Any) -> Model:
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
    inputs = torch.zeros(shape) if example is None else as_example(example)
    if weights is None:  # random ones: no other time are they the same
        return _model(_form(module, inputs), name, f"{zoo}:{name}")
    content = [zoo, version(zoo), name, digest_of(module)]
    return _model(kept(content, inputs, lambda: _form(module, inputs)), name, f"{zoo}:{name}")


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
