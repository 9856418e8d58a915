"""What `tucker2` and `cp` give are TensorLy's tensors; TensorLy computes as the reference; no setting of it changes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import tensorly
import torch
from tensorly.cp_tensor import CPTensor, cp_mode_dot, cp_norm, cp_normalize
from tensorly.decomposition import partial_tucker
from tensorly.tucker_tensor import TuckerTensor, tucker_normalize, tucker_to_unfolded, tucker_to_vec

import workbench as wb
from workbench import lowrank
from workbench.errors import BadValue

KERNEL = torch.randn(9, 7, 3, 2, generator=torch.Generator().manual_seed(0))
METHODS = ("fast", "tensorly")


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-5)


@pytest.fixture
def on_torch() -> Iterator[None]:
    with tensorly.backend_context("pytorch"):
        yield


@pytest.mark.usefixtures("on_torch")
@pytest.mark.parametrize("method", METHODS)
def test_functions_of_tensorly_take_a_tucker_tensor(method: str) -> None:
    found = wb.lowrank.tucker2(KERNEL, (5, 4), method=method)
    assert isinstance(found, TuckerTensor)
    out, inp = found.factors
    by_hand = torch.einsum("op,pqhw,iq->oihw", out, found.core, inp)
    assert (found.shape, found.rank) == ((9, 7, 3, 2), (5, 4))
    assert close(tensorly.tucker_to_tensor(found), by_hand) and close(found.to_tensor(), by_hand)
    assert close(tucker_to_vec(found), by_hand.reshape(-1))
    assert close(tucker_to_unfolded(found, 1), by_hand.transpose(0, 1).reshape(7, -1))
    core, factors = found  # unpacked as TensorLy's are
    assert core is found.core and factors is found.factors
    assert close(found.tucker_copy().to_tensor(), by_hand)


@pytest.mark.usefixtures("on_torch")
def test_functions_that_want_a_factor_for_every_mode_get_one() -> None:
    found = wb.lowrank.tucker2(KERNEL, (5, 4))
    whole = found.all_modes()
    assert [len(factor) for factor in whole.factors] == [9, 7, 3, 2]
    turned = whole.mode_dot(torch.ones(1, 9), 0, copy=True)
    assert close(turned.to_tensor(), found.to_tensor().sum(0, keepdim=True))
    assert close(tucker_normalize(whole).to_tensor(), found.to_tensor())


@pytest.mark.usefixtures("on_torch")
@pytest.mark.parametrize("method", METHODS)
def test_functions_of_tensorly_take_a_cp_tensor(method: str) -> None:
    found = wb.lowrank.cp(KERNEL, 6, method=method)
    assert isinstance(found, CPTensor)
    by_hand = torch.einsum("r,or,ir,hr,wr->oihw", found.weights, *found.factors)
    assert (found.shape, found.rank) == ((9, 7, 3, 2), 6)
    assert close(tensorly.cp_to_tensor(found), by_hand) and close(found.to_tensor(), by_hand)
    assert found.error == pytest.approx(float((KERNEL - by_hand).norm() / KERNEL.norm()), abs=1e-5)
    assert float(cp_norm(found)) == pytest.approx(float(by_hand.norm()), rel=1e-4)
    assert close(cp_mode_dot(found, torch.ones(1, 7), 1, copy=True).to_tensor(), by_hand.sum(1, keepdim=True))
    assert close(cp_normalize(found).to_tensor(), by_hand)
    for factor in found.factors:
        assert torch.allclose(factor.norm(dim=0), torch.ones(6), atol=1e-5)


@pytest.mark.parametrize("backend", ["numpy", "pytorch"])
def test_methods_need_no_setting(backend: str) -> None:
    with tensorly.backend_context(backend):
        tucker, polyadic = lowrank.tucker2(KERNEL, (9, 7)), lowrank.cp(KERNEL, 42)
        assert close(tucker.to_tensor(), KERNEL) and close(tucker.all_modes().core, tucker.core)
        assert close(polyadic.to_tensor(), KERNEL)


def test_the_reference_is_tensorlys_own() -> None:
    found = lowrank.tucker2(KERNEL, (5, 4), method="tensorly")
    with tensorly.backend_context("pytorch"):
        (core, factors), _ = partial_tucker(KERNEL, rank=[5, 4], modes=[0, 1], init="svd")
        theirs = tensorly.tenalg.multi_mode_dot(core, factors, modes=[0, 1])
    assert close(found.to_tensor(), theirs)


def test_fast_and_reference_agree_on_what_has_the_rank() -> None:
    generator = torch.Generator().manual_seed(1)
    core, out, inp = (torch.randn(shape, generator=generator) for shape in ((3, 2, 3, 3), (8, 3), (6, 2)))
    planted = torch.einsum("op,pqhw,iq->oihw", out, core, inp)
    for method in METHODS:
        assert close(lowrank.tucker2(planted, (3, 2), method=method).to_tensor(), planted)


WORK: list[Callable[[str], object]] = [
    lambda method: lowrank.tucker2(KERNEL, (5, 4), method=method),
    lambda method: lowrank.cp(KERNEL, 4, method=method),
]


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("method", METHODS)
def test_the_users_backend_stays(work: Callable[[str], object], method: str) -> None:
    """Of the thread that asks, of the others, and of those that come later."""

    def elsewhere() -> str:
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(tensorly.get_backend()))
        thread.start()
        thread.join()
        return found[0]

    before = tensorly.get_backend(), elsewhere()
    work(method)
    assert (tensorly.get_backend(), elsewhere()) == before


@pytest.mark.parametrize("method", METHODS)
def test_zeros_stay_zeros(method: str) -> None:
    zeros = torch.zeros(6, 5, 3, 3)
    for found in (lowrank.tucker2(zeros, (2, 2), method=method), lowrank.cp(zeros, 4, method=method)):
        assert not found.to_tensor().any()


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: lowrank.tucker2(KERNEL, (5, 4), method="slow"), "method='slow'.*'fast' and 'tensorly'"),
        (lambda: lowrank.cp(KERNEL, 5, method="slow"), "method='slow'.*'fast' and 'tensorly'"),
        (lambda: lowrank.cp(KERNEL, 0, method="tensorly"), "full rank 42"),
        (lambda: lowrank.tucker2(KERNEL, (99, 1), method="tensorly"), "full rank \\(9, 7\\)"),
        (lambda: lowrank.cp(KERNEL, 5, method="tensorly", moment=torch.eye(42)), "no use for moment"),
        (lambda: lowrank.tucker2(KERNEL, (5, 4), method="tensorly", start=lowrank.basis(KERNEL)), "no use for start"),
    ],
)
def test_what_has_no_meaning_is_refused(work: Callable[[], object], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        work()


@pytest.mark.parametrize("code", ["import workbench", "import workbench as wb; wb.Tucker(0.5); wb.CP(0.5)"])
def test_tensorly_waits_until_it_is_asked(code: str) -> None:
    code += "; import sys; sys.exit('tensorly' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
