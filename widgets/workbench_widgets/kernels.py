"""The visitors' kernels: how many there may be, which of them end, and what goes with each."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from typing import Any

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from jupyter_server.utils import ensure_async
from traitlets import Integer

from workbench_widgets.sockets import Socket
from workbench_widgets.upstream import connections, warm_pools

#: Seconds that a place is kept for a visitor who has not come to the socket, which a page does at once.
UNMET_SECONDS = 20.0
#: Messages that may wait for a kernel that does not read; what sends more waits, see `Socket`.
WAITING_MESSAGES = 8


class Places:
    """How many visitors there are: those who are coming, and those who have a kernel. One thread counts them."""

    def __init__(self, number: int) -> None:
        self.number, self.coming = number, 0
        self.kernels: set[str] = set()

    @property
    def full(self) -> bool:
        """Whether there is no place left."""
        return len(self.kernels) + self.coming >= self.number

    def take(self) -> bool:
        """Take a place for who is coming; False where there is none. `settle` belongs to it."""
        if self.full:
            return False
        self.coming += 1
        return True

    def settle(self, kernel_id: str) -> None:
        """Who was coming has this kernel now, or none ("")."""
        self.coming -= 1
        if kernel_id:
            self.kernels.add(kernel_id)


class Kernels(AsyncMappingKernelManager):
    """Ends what nobody uses: a kernel without a page soon, one behind an open page that stays idle later.

    A job's reports count as use, whether anybody sees them or not.
    """

    cull_open_timeout = Integer(3600, config=True, help="Seconds without use after which an open page's kernel ends.")
    max_visitors = Integer(20, config=True, help="Visitors at a time; each has a kernel, a process of its own.")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)  # type: ignore[no-untyped-call]  # as is much of Jupyter
        self.places = Places(self.max_visitors)
        self._stores: dict[str, str] = {}
        self._unmet: dict[str, float] = {}  # since when
        self.context.sndhwm = WAITING_MESSAGES

    async def start_kernel(self, *, env: dict[str, str] | None = None, **how: Any) -> str:  # type: ignore[override]
        """Start a kernel whose temporary files have a folder of their own, which goes when it ends."""
        store = tempfile.mkdtemp(prefix="visitor-", dir=os.environ.get("WORKBENCH_VISITORS"))
        try:
            kernel_id: str = await super().start_kernel(env={**(env or os.environ), "TMPDIR": store}, **how)
        except BaseException:
            shutil.rmtree(store, ignore_errors=True)
            raise
        self._stores[kernel_id] = store
        return kernel_id

    def remove_kernel(self, kernel_id: str) -> Any:
        """Forget a kernel that has ended, and what its visitor stored."""
        shutil.rmtree(self._stores.pop(kernel_id, ""), ignore_errors=True)
        self.places.kernels.discard(kernel_id)
        self._unmet.pop(kernel_id, None)
        Socket.forget(kernel_id)
        return super().remove_kernel(kernel_id)

    def arrived(self, kernel_id: str) -> None:
        """A visit has ended with this kernel, or with none (""): its page comes to the socket next."""
        kernel_id = kernel_id if kernel_id in self else ""  # it may have died since
        self.places.settle(kernel_id)
        if kernel_id and not connections(self, kernel_id):
            self._unmet[kernel_id] = time.monotonic()

    def notify_connect(self, kernel_id: str) -> None:
        """Somebody has come to a kernel's socket."""
        self._unmet.pop(kernel_id, None)
        super().notify_connect(kernel_id)  # type: ignore[no-untyped-call]

    async def make_room(self) -> None:
        """Where all places are taken, end a kernel that nobody has come to, the one that has waited longest."""
        first = min(self._unmet, key=self._unmet.__getitem__, default="")
        if self.places.full and first and self._is_late(first):
            del self._unmet[first]  # the next one ends another
            await ensure_async(self.shutdown_kernel(first, now=True))  # type: ignore[no-untyped-call]

    def _is_late(self, kernel_id: str) -> bool:
        return time.monotonic() - self._unmet.get(kernel_id, float("inf")) > UNMET_SECONDS

    async def drop_dead(self) -> None:
        """Take kernels that ended while they were kept warm out of the pool, so that no visitor gets one."""
        for name, pool in warm_pools(self).items():
            for waiting in [one for one in pool if one.done()]:
                if waiting.exception() or not await self._lives(waiting.result()["kernel_id"]):
                    pool.remove(waiting)
            self.fill_if_needed(delay=0, notebook_name=name)  # type: ignore[attr-defined]  # Voilà's, with the pool

    async def _lives(self, kernel_id: str) -> bool:
        return kernel_id in self and bool(await ensure_async(self.get_kernel(kernel_id).is_alive()))

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End this kernel if it has been idle for too long, or if nobody has come to it."""
        if self._is_late(kernel_id):
            await ensure_async(self.shutdown_kernel(kernel_id))  # type: ignore[no-untyped-call]
            return
        self.cull_connected = self.idle_seconds(kernel_id) > self.cull_open_timeout
        await super().cull_kernel_if_idle(kernel_id)  # type: ignore[no-untyped-call]

    def idle_seconds(self, kernel_id: str) -> float:
        """Seconds since a kernel last said or did anything."""
        last = getattr(self.get_kernel(kernel_id), "last_activity", None)
        return 0.0 if last is None else (last.now(last.tzinfo) - last).total_seconds()
