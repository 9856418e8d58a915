"""What the dashboard's server takes of the insides of Jupyter, Voilà and tornado, all of it in this one place.

None of these names is promised to stay. `tests/widgets/test_upstream.py` says of each what breaks when it moves.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_server.services.kernels.handlers import _kernel_id_regex
from tornado.websocket import WebSocketProtocol

#: A kernel's id in an address.
KERNEL_ID: str = _kernel_id_regex


def connections(kernels: Any, kernel_id: str) -> int:
    """How many sockets a kernel of Jupyter's manager has."""
    count: int = kernels._kernel_connections.get(kernel_id, 0)
    return count


def warm_pools(kernels: Any) -> dict[str, list[Future[dict[str, Any]]]]:
    """The kernels that Voilà's manager keeps warm, by notebook; none where it keeps none."""
    pools: dict[str, list[Future[dict[str, Any]]]] = getattr(kernels, "_pools", {})
    return pools


def before_each_frame(protocol: WebSocketProtocol, wait: Callable[[], Awaitable[None]]) -> None:
    """Let tornado await this before it reads each frame, also one that reaches no handler."""
    receive = protocol._receive_frame  # type: ignore[attr-defined]  # of the one protocol that there is

    async def in_turn() -> None:
        await wait()
        await receive()

    protocol._receive_frame = in_turn  # type: ignore[attr-defined]


def abort(protocol: WebSocketProtocol) -> None:
    """Close a socket at once, without asking the other side to agree."""
    protocol._abort()
