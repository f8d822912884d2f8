"""The bytes on disk."""

import os
from types import TracebackType

from . import layout


class Backing:
    """An encrypted file, read by offset. Nothing of it is kept."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._descriptor).st_size

    def __enter__(self) -> "Backing":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)

    def at(self, offset: int, length: int) -> bytes:
        """The bytes at an offset: fewer than asked for where the file ends."""
        return os.pread(self._descriptor, length, offset)

    def slot(self, number: int) -> bytes:
        """Header slot A (0) or B (1)."""
        return self.at(layout.SLOT * number, layout.SLOT)

    def tag_sector(self, segment: int, sector: int) -> bytes:
        """A tag sector as it is stored."""
        return self.at(layout.tags(segment) + layout.SECTOR * sector, layout.SECTOR)

    def index_sector(self, group: int, sector: int) -> bytes:
        """An index sector as it is stored."""
        return self.at(layout.index_page(group) + layout.SECTOR * sector, layout.SECTOR)
