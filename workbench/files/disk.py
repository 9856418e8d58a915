"""The disk under a study: what the system refuses becomes a sentence, and what a killed process left is tidied up."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from workbench.errors import StorageFailed, WorkbenchError

MEGABYTE = 10**6
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
DENIED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
#: What SQLite says of the disk, in the system's words; what it says of the database itself is no matter of the disk.
_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: errno.ENOENT,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_BUSY: errno.EAGAIN,
    sqlite3.SQLITE_LOCKED: errno.EAGAIN,
}
#: File systems that several machines share.
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "glusterfs", "lustre",
                     "gpfs", "beegfs", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone"})  # fmt: skip
#: How libraries written in Rust put an error of the system into their message.
_IN_WORDS = re.compile(r"(?:os error|code:) (\d+)")
#: What ONNX Runtime says, and no more, when it cannot write a model.
_ONNX_RUNTIME = "Protobuf serialization failed"
_LITTLE = 64_000  # bytes of room with which nothing can be done
_PREFIX = ".unfinished-"


@contextmanager
def told(folder: Path, doing: str, need: int = 0) -> Iterator[None]:
    """What the system refuses in this block becomes a `StorageFailed` that says where, how much room, what to do.

    `doing` begins the sentence: "Running Tucker 0.5". `need` is about how many bytes of room it takes, 0 where
    that is not known. Errors that are not the disk's pass.
    """
    try:
        yield
    except WorkbenchError:
        raise
    except Exception as error:
        code = _code(error)
        if isinstance(error, sqlite3.Error) and code in {errno.ENOENT, errno.EIO} and folder.is_dir():
            code = _why(folder, code)  # it could not write beside its file, and does not say why
        if code is None and min(room(folder), room(Path(tempfile.gettempdir()))) < max(need, _LITTLE):
            code = errno.ENOSPC  # libraries do not always say what has stopped them
        if code is None:
            raise
        raise StorageFailed(_sentence(folder, doing, need, code, error)) from error


def _why(folder: Path, code: int) -> int:
    """What the disk of a folder refuses; `code` where that is not to be seen."""
    if not os.access(folder, os.W_OK):
        return errno.EROFS
    return errno.ENOSPC if room(folder) < _LITTLE else code


def refused_by_disk(error: sqlite3.Error) -> bool:
    """Whether it was the disk that refused: it is full, may not be written to, or is gone."""
    return _code(error) not in {None, errno.EAGAIN}


def has_shared_memory(folder: Path) -> bool:
    """Whether processes that use a folder can share memory: not on a network disk, where they may be far apart."""
    with suppress(OSError):
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        above = {str(place) for place in (folder.absolute(), *folder.absolute().parents)}
        kinds = {one[1]: one[2] for one in mounts if len(one) > 2 and one[1] in above}
        return kinds.get(max(kinds, key=len, default=""), "") not in NETWORK
    return True


def _code(error: Exception) -> int | None:
    """The system's number for what went wrong; None for what is no matter of the disk."""
    if isinstance(error, OSError):
        return error.errno or errno.EIO
    if isinstance(error, sqlite3.Error):
        return _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    said = _IN_WORDS.search(str(error))
    if said:
        return int(said[1])
    return errno.EIO if _ONNX_RUNTIME in str(error) else None


def _sentence(folder: Path, doing: str, need: int, code: int, error: Exception) -> str:
    kept = "Variants finished before it are kept."
    if code in FULL:
        wants = f" (it takes about {_size(need)})" if need else ""
        left, temporary = _size(room(folder)), _size(room(Path(tempfile.gettempdir())))
        return (
            f"{doing} found no room on the disk{wants}: {left} are left in {folder}, {temporary} for temporary files. "
            f"{kept} Make room or take another folder, and try again."
        )
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    place = named if isinstance(named, (str, Path)) else folder
    if code in DENIED:
        return f"{doing} needs to write to {place}: {os.strerror(code)}. {kept} Take a folder that you may write to."
    if code == errno.EAGAIN:
        return f"{doing} waited for {place}, which another process keeps busy. {kept} Try again, or end the other one."
    return f"{doing} failed at {place}: {os.strerror(code)}. {kept} Look whether the folder is there, and try again."


def room(folder: Path) -> int:
    """Bytes that this user can still write to the disk of a folder, which need not exist yet."""
    for place in (folder, *folder.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return 0


def _size(count: int) -> str:
    return f"{count / MEGABYTE:,.1f} MB" if count >= MEGABYTE else f"{count / 1000:,.0f} kB"


@contextmanager
def workspace(where: Path) -> Iterator[Path]:
    """A new folder in `where` for work that is moved elsewhere once it is whole; gone after the block.

    What processes that were killed left of theirs is removed: a lock tells that nobody works there any more.
    """
    _sweep(where)
    folder = where / f"{_PREFIX}{secrets.token_hex(6)}"
    lock = FileLock(f"{folder}.lock")
    with suppress(NotImplementedError):  # a system without locks: nothing is swept there either
        lock.acquire()  # before there is a folder: who sweeps in this moment finds nothing
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _sweep(where: Path) -> None:
    for file in where.glob(f"{_PREFIX}*.lock"):
        lock = FileLock(file)
        with suppress(OSError, NotImplementedError, Timeout), lock.acquire(timeout=0):
            shutil.rmtree(file.with_suffix(""), ignore_errors=True)
            file.unlink(missing_ok=True)


def keep_on_disk(file: Path) -> None:
    """Wait until a file's content is on the disk, so that no later loss of power leaves its name without it."""
    with file.open("rb") as stream, suppress(OSError):  # some network disks know no such wait
        os.fsync(stream.fileno())
