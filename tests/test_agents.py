"""The door for agents, called by the official SDK's own client as a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from tiny import tiny_data, tiny_model
from typer.testing import CliRunner

from workbench import cli
from workbench.models.structure import save_variant

Told = dict[str, Any]
RECIPE = [{"step": "Prune", "ratio": 0.5}]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A network and data as files, which is how an agent names them."""
    place = tmp_path_factory.mktemp("files")
    model, data = tiny_model(), tiny_data(400)
    save_variant(model.module, model, place / "tiny.safetensors")
    arrays = {f"{name}_images": data[name].inputs.numpy() for name in ("train", "test")}
    arrays |= {f"{name}_labels": np.asarray(data[name].labels) for name in ("train", "test")}
    np.savez(place / "tiny.npz", **arrays)  # type: ignore[arg-type]
    return {"model": str(place / "tiny.safetensors"), "data": str(place / "tiny.npz")}


def spoken(folder: Path, talk: Callable[[Client], Awaitable[None]]) -> None:
    """Talk to a server of a study folder until the talk is over."""
    arguments = ["-W", "ignore", "-m", "workbench", "mcp", str(folder)]
    root = Path(__file__).parent.parent
    quick = {"WORKBENCH_LATENCY_SECONDS": "0.1"}
    command = StdioServerParameters(command=sys.executable, args=arguments, cwd=root, env=quick)

    async def all_of_it() -> None:
        async with Client(stdio_client(command)) as client:
            await talk(client)

    anyio.run(all_of_it)


async def answer(client: Client, tool: str, **arguments: Any) -> Told:
    """What a tool gives back; what it says where it fails."""
    found = await client.call_tool(tool, arguments)
    text = "".join(getattr(one, "text", "") for one in found.content)
    return {"error": text} if found.is_error else json.loads(text)


async def refusals(client: Client) -> None:
    """What cannot be done is said in the workbench's words."""
    assert "No network is loaded" in (await answer(client, "plan", recipe=RECIPE))["error"]
    assert "There is no model named 'nothing'" in (await answer(client, "load", model="nothing"))["error"]


def check_figures(variant: Told) -> None:
    """Each with its interval; nothing that is only predicted is a gain."""
    for name, figure in variant["figures"].items():
        assert figure["low"] <= figure["value"] <= figure["high"], name
    assert "predicted_speedup" not in variant["figures"]
    speedup = variant["figures"]["speedup"]
    assert speedup["low"] < speedup["value"] < speedup["high"]


def test_a_study_from_loading_to_the_export(named: dict[str, str], tmp_path: Path) -> None:
    seen: list[tuple[float, str | None]] = []

    async def watched(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, message))

    async def talk(client: Client) -> None:
        await refusals(client)
        loaded = await answer(client, "load", **named)
        assert loaded["judged_by"] == "accuracy" and "conv1" in loaded["layers"] and loaded["variants"] == []
        assert "Prune" in (await answer(client, "techniques"))["techniques"]
        plan = await answer(client, "plan", recipe=RECIPE)
        assert plan["params"]["before"] == loaded["params"] and "no gain in speed" in plan["note"]
        assert "There is no step named 'Prunes'" in (await answer(client, "plan", recipe=[{"step": "Prunes"}]))["error"]
        found = await client.call_tool("run", {"recipe": RECIPE}, progress_callback=watched)
        assert not found.is_error
        variant = json.loads(found.content[0].text)
        check_figures(variant)
        assert (await answer(client, "verdict", variant=variant["id"]))["verdict"] == variant["verdict"] != ""
        assert "There is no variant named 'none'" in (await answer(client, "verdict", variant="none"))["error"]
        names = [one["name"] for one in (await answer(client, "variants"))["variants"]]
        assert names == ["original", "Prune 0.5"]
        exported = await answer(client, "export", variant=variant["id"])
        assert Path(exported["folder"]).parent == tmp_path / "study" / "exports"
        assert (Path(exported["folder"]) / "model.onnx").exists() and exported["verified"]["accuracy"] > 0
        assert "export format" in (await answer(client, "export", variant=variant["id"], format="exe"))["error"]

    spoken(tmp_path / "study", talk)
    shares = [share for share, _ in seen]
    assert len(seen) > 2 and shares == sorted(shares) and any(stage == "latency" for _, stage in seen)


def test_a_long_run_is_cancelled_and_what_was_finished_stays(named: dict[str, str], tmp_path: Path) -> None:
    """A training of hours ends with the call, so that another recipe gets its turn."""
    long = [{"step": "Finetune", "epochs": 200}]

    async def talk(client: Client) -> None:
        await answer(client, "load", **named)
        await answer(client, "run", recipe=RECIPE)
        training = anyio.Event()

        async def watched(_: float, __: float | None, message: str | None) -> None:
            if "poch" in (message or ""):
                training.set()

        async def trained() -> None:
            found = await client.call_tool("run", {"recipe": long}, progress_callback=watched)
            pytest.fail(f"It ended by itself: {found}")

        async with anyio.create_task_group() as group:
            group.start_soon(trained)
            await training.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(120):
            found = await answer(client, "run", recipe=[{"step": "Prune", "ratio": 0.25}])
        assert found["name"] == "Prune 0.25"
        assert [one["name"] for one in (await answer(client, "variants"))["variants"]] == [
            "original", "Prune 0.5", "Prune 0.25",
        ]  # fmt: skip

    spoken(tmp_path / "study", talk)


def test_a_search_gives_what_keeps_to_its_limits(named: dict[str, str], tmp_path: Path) -> None:
    async def talk(client: Client) -> None:
        await answer(client, "load", **named)
        refused = await answer(client, "search", minimise="beauty")
        assert "beauty" in refused["error"]
        found = await answer(client, "search", minimise="params", where="accuracy >= baseline - 0.2", budget="10 s")
        best = found["variants"][0]["figures"]["params"]
        assert found["kept"] >= 1 and best["low"] == best["value"] == best["high"]

    spoken(tmp_path / "study", talk)


def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(sys.modules, "workbench.agents", raising=False)
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    found = CliRunner().invoke(cli.app, ["mcp", str(tmp_path)])
    assert "pip install 'nn-workbench[mcp]'" in str(found.exception)
