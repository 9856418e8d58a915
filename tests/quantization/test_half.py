"""float16: what it keeps in float32 stands beside it in one sound file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.onnx_file import write_onnx
from workbench.quantization.half import to_float16

Tensor = torch.Tensor


class Masked(nn.Module):
    """Padding is masked by numbers that are made of the tokens, before two heads read one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.one, self.two, self.out = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        mask = (tokens == 0)[:, None].float() * -1e4
        scores = torch.softmax(self.one(x) @ self.two(x).mT + mask, -1)
        return self.out((scores @ x).mean(1))  # type: ignore[no-any-return]


class Stretched(nn.Module):
    """A token of its own stands in front of the patches; sizes are computed in the exported file."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.randn(1, 1, 16))
        self.qkv, self.head = nn.Linear(16, 48), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, 2, 8).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        return self.head((x + seen)[:, 0])  # type: ignore[no-any-return]


def tokens(count: int) -> Tensor:
    return torch.randint(0, 20, (count, 9), generator=torch.Generator().manual_seed(count))


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize(("kind", "inputs"), [(Masked, tokens), (Stretched, images)])
@pytest.mark.parametrize("exclude", [(), ("one", "two"), ("head", "qkv")], ids=str)
def test_outputs_are_those_of_torch(
    kind: type[nn.Module], inputs: Callable[[int], Tensor], exclude: tuple[str, ...], tmp_path: Path
) -> None:
    """Also where two layers that stay in float32 read the same tensor."""
    torch.manual_seed(0)
    net = kind().eval()
    model = wb.load(net, example=inputs(1))
    exact = onnx.load(write_onnx(model.module, model.example, tmp_path / "net.onnx"))
    nodes = [(node.name, {node.name, *node.input}) for node in exact.graph.node]
    kept = {name for name, near in nodes if any(one in text for one in exclude for text in near)}
    half = to_float16(exact, kept)
    made = [name for node in half.graph.node for name in node.output]
    assert len(made) == len(set(made))
    session = onnxruntime.InferenceSession(half.SerializeToString(), providers=["CPUExecutionProvider"])
    x = inputs(5)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        wanted = net(x)
    assert torch.allclose(torch.from_numpy(found), wanted, atol=5e-3 * float(wanted.abs().max()))
