"""Changes to a graph: an operation skipped, what nothing reads left out."""

from __future__ import annotations

from torch import fx, nn

from workbench.models.graph import drop_unread


def node_of(module: nn.Module, name: str) -> fx.Node:
    """The operation of this name in a graph. Raises: `KeyError`."""
    nodes: dict[str, fx.Node] = {node.name: node for node in _graph(module).graph.nodes}
    return nodes[name]


def skip(module: nn.Module, result: fx.Node, source: fx.Node) -> None:
    """Whatever reads `result` reads `source` from now on; what nothing reads any more goes."""
    result.replace_all_uses_with(source)
    tidy(module)


def tidy(module: nn.Module) -> None:
    """Leave out operations that nothing reads, and layers that nothing calls."""
    network = _graph(module)
    drop_unread(network.graph)
    network.delete_all_unused_submodules()
    network.recompile()


def _graph(module: nn.Module) -> fx.GraphModule:
    assert isinstance(module, fx.GraphModule), "steps work on networks in canonical form"
    return module
