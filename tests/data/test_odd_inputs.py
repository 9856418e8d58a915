"""Whatever is given: data that hold what `Data` promises, or a sentence; and the user's own tensors as they were."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import workbench as wb
from workbench.data import Data
from workbench.errors import WorkbenchError

JUNK: list[Any] = [
    None, True, 3, -1.5, float("nan"), "", "cat", b"cat", (), [], {}, object(), int, [None], [[1], [1, 2]], {1, 2},
    10**30, np.datetime64("2020-01-01"), torch.zeros(()), np.zeros((0, 3)), complex(1, 2), range(4), "fashion-mnist",
]  # fmt: skip
DTYPES = [torch.uint8, torch.bool, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64]
SHAPES = [(), (3,), (1, 4, 4), (4, 4, 3), (4, 5), (3, 4, 5), (0,), (2, 3, 4, 4)]
SPLIT_NAMES = st.sampled_from(["train", "calibration", "validation", "val", "test", "tset", 3, None])


@st.composite
def inputs(draw: st.DrawFn, n: int) -> Any:
    """`n` inputs in one of many forms, some of them with what no network can read."""
    shape, dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DTYPES))
    scale = draw(st.sampled_from([1, 200, 1e38]))
    found = (torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)) * scale).to(dtype)
    if found.is_floating_point() and found.numel() and draw(st.booleans()):
        found.view(-1)[0] = draw(st.sampled_from([float("nan"), float("inf"), -1.0]))
    match draw(st.sampled_from(["tensor", "array", "list", "lists", "grad", "strided", "ragged"])):
        case "array":
            kind = draw(st.sampled_from(["f8", ">f4", "u1", "i4", "f2", "U4", "O", "M8[s]"]))
            with np.errstate(invalid="ignore", over="ignore"):
                return found.float().numpy().astype(kind)
        case "list":
            return list(found)
        case "lists":
            return found.tolist()
        case "grad" if found.is_floating_point():
            return found.requires_grad_()
        case "strided":
            return found.expand(2, *found.shape).transpose(0, 1)[:, 0] if n else found
        case "ragged" if found.dim() > 2:
            return [one[: 1 + i % 2] for i, one in enumerate(found)]
        case _:
            return found


@st.composite
def labels(draw: st.DrawFn, n: int) -> Any:
    numbers = st.integers(-3, 6)
    of_one = draw(st.sampled_from([
        numbers, st.sampled_from(["a", "b", ""]), st.booleans(), st.floats(width=32), st.sampled_from(JUNK),
        st.integers(), st.lists(numbers, min_size=1, max_size=3), st.sampled_from([0, 1, -1, -100]),
        st.sampled_from([[1, 0], [0, 1]]), st.sampled_from(["a", 1, None]),
    ]))  # fmt: skip
    found = draw(st.lists(of_one, min_size=n, max_size=n))
    try:
        return draw(st.sampled_from([list, tuple, np.array, torch.tensor]))(found)
    except (ValueError, TypeError, RuntimeError, OverflowError):
        return found


@st.composite
def splits(draw: st.DrawFn) -> Any:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(JUNK))
    n = draw(st.integers(0, 12))
    x, y = draw(inputs(n)), draw(labels(draw(st.sampled_from([n, n, n, n + 1]))))
    match draw(st.sampled_from(["pair", "list", "alone", "items", "dicts", "columns", "loader", "triples"])):
        case "list":
            return [x, y]
        case "alone":
            return x
        case "items":
            return list(zip(x, y, strict=False))
        case "dicts":
            return [{"image": a, "label": b} for a, b in zip(x, y, strict=False)]
        case "columns":
            return {"x": x, "y": y}
        case "loader":
            return DataLoader(list(zip(x, y, strict=False)), batch_size=draw(st.integers(1, 5)))
        case "triples":
            return [(a, b, 0) for a, b in zip(x, y, strict=False)]
        case _:
            return (x, y)


OPTIONS = st.fixed_dictionaries({}, optional={
    "classes": st.sampled_from([("a", "b", ""), ["0", "1", "2", "3", "4", "5", "6"], "ab", (), 3, None]),
    "mean": st.sampled_from([0.5, (0.5, 0.5, 0.5), (), None, "x", float("nan"), [0.1], np.ones(2), torch.ones(3)]),
    "std": st.sampled_from([0.5, (0.5, 0.5, 0.5), (), 0, -1, [0.1], np.ones(2)]),
    "size": st.sampled_from([None, 4, (3, 5), 0, -1, "4", 2.5, True, (1, 2, 3)]),
    "name": st.sampled_from(["mine", ""]),
})  # fmt: skip


def check(data: Data) -> None:
    for name, split in data.splits.items():
        x = split.inputs
        assert split.name == name and len(split) == len(x) > 0
        assert x.dtype in {torch.float32, torch.int64, torch.bool}
        assert x.is_contiguous() and not x.requires_grad and bool(x.isfinite().all())
        if split.labelled:
            y = split.labels
            assert len(y) == len(x) and y.dtype in {torch.int64, torch.float32}
            if y.dim() == 1 and y.dtype == torch.int64:
                assert int(y.min()) >= 0
                assert not data.classes or int(y.max()) < len(data.classes)
            assert all(len(a) == len(b) <= 100 for a, b in split.batches())
    assert len(data.hash) == 16


def check_if_taken(source: Any, **options: Any) -> None:
    said = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            check(wb.data(source, **options))
        except WorkbenchError as error:
            said = str(error)
    assert not said or 20 < len(said) < 2000


def kept(value: Any) -> Any:
    """A copy of what may not change."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: kept(one) for key, one in value.items()}
    return [kept(one) for one in value] if isinstance(value, (list, tuple)) else copy.copy(value)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and bool(torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return all(same(one[key], other[key]) for key in one)
    return True


@given(source=st.dictionaries(SPLIT_NAMES, splits(), max_size=3) | splits(), options=OPTIONS)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_never_a_raw_exception(source: Any, options: dict[str, Any]) -> None:
    before = kept(source)
    check_if_taken(source, **options)
    assert same(before, source)


@given(content=st.dictionaries(
    st.sampled_from(["train_images", "test_images", "test_labels", "train_labels", "mean", "std", "classes"]),
    st.integers(0, 6).flatmap(lambda n: inputs(n) | labels(n)), max_size=6,
))  # fmt: skip
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_never_a_raw_exception_for_an_npz(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("npz") / "d.npz"
    try:
        np.savez(path, **{key: np.asarray(_plain(value)) for key, value in content.items()})
    except (ValueError, TypeError, RuntimeError):
        return
    check_if_taken(path)


def _plain(value: Any) -> Any:
    return value.detach().float().numpy() if isinstance(value, torch.Tensor) else value
