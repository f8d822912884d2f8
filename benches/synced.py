"""What programs do that wait for the disk: logs, databases, editors. Part of what mounts.py measures, on a disk."""

import contextlib
import os
import shutil
import sqlite3
import time


def each(count, work):
    """Milliseconds that one of `count` turns of `work` takes."""
    start = time.perf_counter()
    for turn in range(count):
        work(turn)
    return (time.perf_counter() - start) / count * 1e3


@contextlib.contextmanager
def temporary(path, flags):
    """A file that is open, and goes."""
    handle = os.open(path, os.O_CREAT | flags)
    try:
        yield handle
    finally:
        os.close(handle)
        os.unlink(path)


def append(mnt, count):
    """A log: a line of 500 bytes, and fdatasync."""
    line = os.urandom(500)
    with temporary(mnt / "log", os.O_WRONLY | os.O_APPEND) as handle:
        def work(_):
            os.write(handle, line)
            os.fdatasync(handle)
        return each(count, work)


def overwrite(mnt, count):
    """A page of 4 KiB anywhere in a file of 1 MiB, and fsync."""
    page = os.urandom(4096)
    with temporary(mnt / "pages", os.O_RDWR) as handle:
        os.pwrite(handle, os.urandom(1 << 20), 0)
        os.fsync(handle)

        def work(turn):
            os.pwrite(handle, page, turn * 7919 % 256 * 4096)
            os.fsync(handle)
        return each(count, work)


def replace(mnt, count):
    """An editor that saves: a new file of 3,000 bytes, fsync, rename over the old one, fsync of the directory."""
    directory, content = mnt / "replaced", os.urandom(3000)
    directory.mkdir()
    parent = os.open(directory, os.O_RDONLY)

    def work(_):
        handle = os.open(directory / "new", os.O_CREAT | os.O_WRONLY)
        os.write(handle, content)
        os.fsync(handle)
        os.close(handle)
        os.rename(directory / "new", directory / "file")
        os.fsync(parent)
    took = each(count, work)
    os.close(parent)
    shutil.rmtree(directory)
    return took


def commit(mnt, count):
    """SQLite with its rollback journal: a row, and a commit."""
    path = mnt / "database"
    database = sqlite3.connect(path)
    database.execute("create table rows(text)")
    database.commit()

    def work(_):
        database.execute("insert into rows values (?)", ("x" * 100,))
        database.commit()
    took = each(count, work)
    database.close()
    path.unlink()
    return took


def measure(mnt):
    """One round on one mount: (figure, value, unit)."""
    yield "append, fdatasync (disk)", append(mnt, 200), "ms"
    yield "overwrite, fsync (disk)", overwrite(mnt, 200), "ms"
    yield "replace, fsync both (disk)", replace(mnt, 100), "ms"
    yield "SQLite commit (disk)", commit(mnt, 100), "ms"
