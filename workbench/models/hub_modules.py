"""The torch module of a repository's configuration and weights, made by transformers or timm."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from workbench.errors import BadFile, UnknownName, WorkbenchError, shown, unknown
from workbench.models.hub import CONFIG, Repository, sentence
from workbench.modules.calling import Inputs
from workbench.untrusted import read_metadata, read_tensors

#: Tokens and samples of an example, where a network takes sequences of any length.
TOKENS, SAMPLES = 16, 16000
#: A network may have this many times the numbers that its files hold: some are shared, some computed.
MOST_TIMES = 4


def module_of(repo: Repository) -> tuple[nn.Module, Inputs | None]:
    """The network in evaluation mode, and one input of it, None where nothing tells what it takes.

    Raises: `BadFile` where configuration and weights do not fit, or code of the repository's own would be needed;
    `UnknownName` where the library is not installed.
    """
    for file in repo.weights:
        read_metadata(file)  # that it holds what it lists, before anybody else reads it
    if "architecture" in repo.config:
        return _of_timm(repo)
    if repo.config.get("architectures"):
        return _of_transformers(repo)
    raise BadFile(
        f"The {CONFIG} of {repo.name} names neither an architecture of timm nor architectures of transformers. Load "
        "the network in its own library and pass it: wb.load(module, example=...)."
    )


def _of_timm(repo: Repository) -> tuple[nn.Module, Inputs]:
    timm = _library("timm")
    name, given = str(repo.config["architecture"]), repo.config.get("model_args") or {}
    if name not in timm.list_models():
        raise unknown("timm model", name, timm.list_models())
    taken = set(inspect.signature(timm.create_model).parameters) | {"pretrained_cfg_overlay", "features_only"}
    if not isinstance(given, dict) or taken & given.keys():  # such as a checkpoint to be unpickled
        raise BadFile(f"The model_args in the {CONFIG} of {repo.name}, {shown(given)}, are not taken from a file.")
    arguments = {**given, "pretrained": False}
    if "num_classes" in repo.config:
        arguments["num_classes"] = repo.config["num_classes"]
    state: dict[str, torch.Tensor] = {}
    for file in repo.weights:
        state |= read_tensors(file)[0]
    with _said(repo, "timm"):
        with torch.device("meta"):
            laid_out = timm.create_model(name, **arguments)
        _check_size(laid_out, repo)
        module: nn.Module = timm.create_model(name, **arguments)
        module.load_state_dict(state)
    cfg = repo.config.get("pretrained_cfg", repo.config)
    own: Any = module.default_cfg
    size = (cfg.get("input_size") if isinstance(cfg, dict) else None) or own.get("input_size", (3, 224, 224))
    return module.eval(), torch.zeros(1, *_sizes(size, repo))


def _of_transformers(repo: Repository) -> tuple[nn.Module, Inputs | None]:
    library = _library("transformers")
    name = str(repo.config["architectures"][0]) if isinstance(repo.config["architectures"], list) else ""
    if "quantization_config" in repo.config:
        raise BadFile(f"The weights of {repo.name} are quantized already. Load what they were made from.")
    with _said(repo, "transformers"):
        kind: Any = getattr(library, name, None) if name.isidentifier() else None
    if not _is_network(kind, library):
        raise BadFile(
            f"{repo.name} is a {shown(name)}, which transformers {library.__version__} does not know. Code that comes "
            "with a repository is not run here: load the network in its own library and pass it."
        )
    with tempfile.TemporaryDirectory() as folder, _said(repo, "transformers"), _quietly(library):
        place = Path(folder)  # nothing of a repository lies there but what was looked at
        for file in (repo.config_file, repo.index, *repo.weights):
            if file is not None:
                _link(file, place / file.name)
        config = kind.config_class.from_pretrained(place, local_files_only=True)
        config.use_cache = False
        with torch.device("meta"):
            laid_out = kind(config)
        _check_size(laid_out, repo)
        module, info = kind.from_pretrained(
            place, config=config, dtype=torch.float32, use_safetensors=True, local_files_only=True,
            trust_remote_code=False, output_loading_info=True,
        )  # fmt: skip
    lacking = sorted(info["missing_keys"])
    if lacking or info["mismatched_keys"]:
        raise BadFile(
            f"The weights of {repo.name} lack {shown(lacking[0] if lacking else info['mismatched_keys'])}, so that "
            f"its {name} would begin with random numbers. Load the network in transformers, train it, and pass it."
        )
    return module.eval(), _example(module, repo)


def _is_network(kind: Any, library: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, library.PreTrainedModel)


def _link(file: Path, target: Path) -> None:
    try:
        target.symlink_to(file.resolve())
    except OSError:  # Windows without the right to
        shutil.copy(file, target)


def _example(module: Any, repo: Repository) -> Inputs | None:
    """An input by what transformers calls the main one; None for other kinds."""
    config, entry = module.config, module.main_input_name
    if entry == "pixel_values":
        size = getattr(config, "image_size", None) or 224
        sides = size if isinstance(size, (list, tuple)) else (size, size)
        made = torch.zeros(1, *_sizes((getattr(config, "num_channels", 3), *sides), repo))
    elif entry == "input_ids":
        length = min(TOKENS, int(getattr(config, "max_position_embeddings", None) or TOKENS))
        made = torch.arange(length).remainder(int(getattr(config, "vocab_size", 2))).unsqueeze(0)
    elif entry == "input_values":
        made = torch.zeros(1, SAMPLES)
    else:
        return None
    first = next(iter(inspect.signature(module.forward).parameters))
    return made if first == entry else {entry: made}


def _sizes(given: Any, repo: Repository) -> tuple[int, ...]:
    sound = isinstance(given, (list, tuple)) and all(type(one) is int and 0 < one < 2**14 for one in given)
    if not sound or not given:
        raise BadFile(f"The {CONFIG} of {repo.name} has the input size {shown(given)}, which is none. Pass example=.")
    return tuple(given)


def _check_size(laid_out: nn.Module, repo: Repository) -> None:
    """Raise `BadFile` for a configuration of a network that is far larger than its weights."""
    wanted = sum(one.numel() for one in laid_out.parameters())
    held = sum(file.stat().st_size for file in repo.weights)
    if wanted > MOST_TIMES * held:
        raise BadFile(
            f"The {CONFIG} of {repo.name} describes a network of {wanted:,} numbers, and its weights are {held:,} "
            "bytes: they do not belong together."
        )


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnknownName(f"{name} is not installed. Install it: pip install 'nn-workbench[hf]'.") from error
    except RuntimeError as error:
        raise UnknownName(f"{name} does not fit the installed torch: {error}. Install one built for it.") from error


@contextlib.contextmanager
def _said(repo: Repository, library: str) -> Iterator[None]:
    """What a library raises becomes a sentence: it may raise anything for a configuration of a stranger's."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except WorkbenchError:
        raise
    except Exception as error:
        raise BadFile(
            f"{library} cannot make {repo.name}: {sentence(error)}. Load the network with {library} and pass it: "
            "wb.load(module, example=...)."
        ) from error


@contextlib.contextmanager
def _quietly(library: Any) -> Iterator[None]:
    """Without transformers' report on what it loads: what matters of it is said in an error."""
    talk = library.utils.logging
    level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    talk.set_verbosity_error()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        talk.set_verbosity(level)
        if bars:
            talk.enable_progress_bar()


def libraries() -> list[str]:
    """The versions of the libraries that make networks, as far as they are installed."""
    found = []
    for name in ("timm", "transformers"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return found
