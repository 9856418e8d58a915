"""Changes to a graph: another layer in a place, an operation skipped, a run of operations replaced."""

from __future__ import annotations

from torch import fx, nn

from workbench.models.graph import Graph


def put(module: nn.Module, path: str, new: nn.Module) -> None:
    """Another layer in the place of the one at `path`."""
    parent, _, leaf = path.rpartition(".")
    setattr(module.get_submodule(parent), leaf, new)


def node_of(module: Graph, name: str) -> fx.Node:
    """The operation of this name. Raises: `KeyError`."""
    return next(node for node in module.graph.nodes if node.name == name)


def skip(module: Graph, result: fx.Node, source: fx.Node) -> None:
    """Whatever reads `result` reads `source` from now on; what nothing reads any more goes."""
    result.replace_all_uses_with(source)
    tidy(module)


def tidy(module: Graph) -> None:
    """Leave out operations that nothing reads, and layers that nothing calls."""
    for node in reversed(module.graph.nodes):
        changes = node.op in {"placeholder", "output"} or (node.op != "call_module" and node.is_impure())
        if not node.users and not changes:
            module.graph.erase_node(node)
    module.delete_all_unused_submodules()
    module.recompile()
