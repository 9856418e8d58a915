"""What the dashboard's server relies on inside Jupyter, Voilà and tornado: of each, what breaks when it moves."""

from __future__ import annotations

import ast
import inspect
import re
import uuid
from pathlib import Path

import pytest

pytest.importorskip("voila")
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13
from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler
from voila.voila_kernel_manager import voila_kernel_manager_factory

import workbench_widgets
from workbench_widgets import upstream

POOLED = voila_kernel_manager_factory(AsyncMappingKernelManager, preheat_kernel=True, default_pool_size=1)
#: Where, which name, and what breaks without it.
RELIED_ON = [
    (AsyncMappingKernelManager, "_kernel_connections", "a visitor who is there already counts as one who never came"),
    (AsyncMappingKernelManager, "cull_kernel_if_idle", "kernels that nobody uses never end"),
    (AsyncMappingKernelManager, "cull_connected", "an idle kernel behind an open page never ends"),
    (AsyncMappingKernelManager, "notify_connect", "a page that comes late loses its kernel after a while"),
    (AsyncMappingKernelManager, "get_kernel", "a dead warm kernel is handed to a visitor"),
    (POOLED, "fill_if_needed", "a dead warm kernel is not replaced"),
    (WebSocketHandler, "get_websocket_protocol", "one visitor's frames no longer take turns with those of others"),
    (WebSocketProtocol13, "_receive_frame", "one visitor's frames no longer take turns with those of others"),
    (WebSocketProtocol, "_abort", "a socket that sends nonsense stays open"),
    (RequestHandler, "write_error", "refusals come as Jupyter's error pages, which hold up everybody"),
    (ZMQChannelsWebsocketConnection, "handle_incoming_message", "no message reaches a kernel"),
    (ZMQChannelsWebsocketConnection, "channels", "messages pile up here for a kernel that does not read"),
    (Voila, "init_handlers", "Voilà's own pages, which execute notebooks, are served beside ours"),
    (Voila, "init_settings", "any number of kernels starts at a time"),
    (Voila, "listen", "requests of any size are read"),
    (TornadoVoilaHandler, "get", "no visit starts a kernel"),
]


@pytest.mark.parametrize(("owner", "name", "breaks"), RELIED_ON, ids=[f"{o.__name__}.{n}" for o, n, _ in RELIED_ON])
def test_it_is_where_it_was(owner: type, name: str, breaks: str) -> None:
    assert hasattr(owner, name), f"{owner.__module__}.{owner.__name__} has no {name} any more: {breaks}."


def test_tornado_reads_each_frame_by_the_name_that_is_replaced() -> None:
    loop = inspect.getsource(WebSocketProtocol13._receive_frame_loop)
    assert "self._receive_frame()" in loop, "one visitor's frames no longer take turns: see before_each_frame."


def test_voila_keeps_its_warm_kernels_as_the_pool_is_read() -> None:
    source = inspect.getsource(POOLED)
    assert "self._pools[notebook_name]" in source, "a dead warm kernel is handed to a visitor: see warm_pools."
    wanted = {"delay", "notebook_name"}
    assert wanted <= inspect.signature(POOLED.fill_if_needed).parameters.keys(), "see Kernels.drop_dead"


def test_a_kernels_id_is_what_the_address_takes() -> None:
    found = re.fullmatch(upstream.KERNEL_ID, str(uuid.uuid4()))
    assert found is not None and found["kernel_id"] == found[0], "no page finds its kernel: see KERNEL_ID."


def test_nothing_else_of_the_screen_reaches_into_them() -> None:
    """Private names of others stand in `upstream.py` alone; `self._...` is our own."""
    documented = {"_exit", "_repr_mimebundle_"}  # of Python and of IPython
    found = []
    for path in Path(workbench_widgets.__file__).parent.glob("*.py"):
        if path.name == "upstream.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("workbench"):
                found += [(path.name, one.name) for one in node.names if re.match("_[a-z]", one.name)]
            private = isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr) and node.attr not in documented
            if private and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}):
                found.append((path.name, node.attr))
    assert not found
