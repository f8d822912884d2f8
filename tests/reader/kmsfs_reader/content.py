"""What a file says, once its header is known: FORMAT.md, section 5 and, for a dirty file, rule 8."""

import functools
from collections.abc import Iterator

from . import layout, sectors
from .backing import Backing
from .errors import Inauthentic, Refused
from .header import GROWTH, TRUNCATION, Slot
from .keys import FileKeys
from .sectors import Version


class Content:
    """The plaintext of one file, as whoever cannot write sees it.

    A dirty file is read as recovery would leave it. Reading refuses what cannot be read; it does not stop the rest from being
    read.
    """

    def __init__(self, backing: Backing, header: Slot, data_key: bytes) -> None:
        self.backing = backing
        self.header = header
        self.keys = FileKeys(data_key, header.file_id)
        # A segment has to be as it was to be believed, and nothing is read of a file before the first is.
        self.segment(0)
        self.size = self._dirty_size() if header.dirty else self._clean_size()

    def chunk(self, number: int) -> bytes | None:
        """The plaintext of a chunk that the size reaches, or None where it is a hole."""
        segment = layout.segment_of(number)
        if not self._exists(segment):
            return None
        versions = self.segment(segment)[number - layout.first_chunk(segment)]
        if not versions:
            return None
        part, length = f"chunk {number}", layout.length_of(number, self.size)
        if not self.header.dirty:
            if len(versions) > 1:
                raise Refused(part, "has two versions in a clean file")
            if versions[0].length != length:
                raise Refused(part, f"has {versions[0].length} bytes where the size gives it {length}")
        stored = self._stored(number, versions)
        if stored is None:
            raise Refused(part, "does not authenticate")
        return stored[1][:length].ljust(length, b"\0")

    def stored_chunks(self) -> Iterator[tuple[int, bytes]]:
        """Each chunk that is not a hole, and its plaintext."""
        for segment in self.segments():
            first = layout.first_chunk(segment)
            for number in range(first, min(first + layout.chunks_of(segment), layout.chunks(self.size))):
                plain = self.chunk(number)
                if plain is not None:
                    yield number, plain

    def segments(self) -> Iterator[int]:
        """The segments within the size that exist, 0 among them."""
        yield 0
        for group in range(layout.groups_of(self.size)):
            for segment in self.group(group):
                if layout.first_chunk(segment) < layout.chunks(self.size):
                    yield segment

    @functools.lru_cache(maxsize=64)
    def segment(self, segment: int) -> list[tuple[Version, ...]]:
        """An entry for each chunk of a segment that exists. All of its sectors have to be right."""
        entries = []
        for sector in range(layout.tag_sectors(segment)):
            raw = self.backing.tag_sector(segment, sector)
            entries += sectors.tag_sector(self.keys, segment, sector, raw)
            sectors.check_epoch(raw, self.header.sequence, f"tag sector {sector} of segment {segment}")
        return entries

    @functools.lru_cache(maxsize=64)
    def group(self, group: int) -> list[int]:
        """The segments of a group that exist, in order. All sectors of its index page have to be right."""
        segments = []
        for sector in range(layout.INDEX_SECTORS):
            raw = self.backing.index_sector(group, sector)
            segments += [
                layout.first_segment(group) + number
                for number in sectors.index_sector(self.keys, group, sector, raw)
            ]
            sectors.check_epoch(raw, self.header.sequence, f"index sector {sector} of group {group}")
        return segments

    def _clean_size(self) -> int:
        size = self.header.committed
        expected = layout.backing_size(size)
        if self.backing.size != expected:
            raise Refused("backing file", f"has {self.backing.size} bytes, and a clean file of {size} has {expected}")
        if size <= layout.FIRST_SIZE:
            self._check_root_of_first_segment()
        return size

    def _check_root_of_first_segment(self) -> None:
        root = 0
        for sector in range(layout.tag_sectors(0)):
            root ^= sectors.member(self.keys, b"t", 0, sector, self.backing.tag_sector(0, sector))
        if sectors.masked(self.keys, root, self.header.mask) != self.header.masked_root:
            raise Refused("content root", "is not that of the tag sectors")

    def _dirty_size(self) -> int:
        """The size that recovery would give the file."""
        header = self.header
        floor = layout.backing_size(header.committed)
        if self.backing.size < floor:
            raise Refused("backing file", f"has {self.backing.size} bytes, and {floor} were committed")
        stored = self._authentic_end(layout.plain_size(self.backing.size))
        if header.change == TRUNCATION:
            return min(header.target, stored)
        if header.change == GROWTH:
            return min(header.acknowledged, stored)
        return min(max(header.acknowledged, self._end_of_entries(stored)), stored)

    def _authentic_end(self, stored: int) -> int:
        """The stored size, cut to before the first thing above the floor that a loss of power tore."""
        floor = self.header.committed
        for group in range(layout.groups_of(stored)):
            start = layout.CHUNK * layout.first_chunk(layout.first_segment(group))
            try:
                segments = self.group(group)
            except Refused as refusal:
                if start < floor:
                    continue
                if isinstance(refusal, Inauthentic):
                    return start
                raise
            for segment in segments:
                start = layout.CHUNK * layout.first_chunk(segment)
                if floor <= start < stored:
                    try:
                        self.segment(segment)
                    except Inauthentic:
                        return start
        return stored

    def _end_of_entries(self, stored: int) -> int:
        """Where the last chunk ends that has an entry: all that is stored, where that cannot be told."""
        try:
            for group in reversed(range(layout.groups_of(stored))):
                for segment in reversed(self.group(group)):
                    end = self._end_in(segment) if layout.CHUNK * layout.first_chunk(segment) < stored else 0
                    if end:
                        return end
        except Refused:
            return stored
        return self._end_in(0)

    def _end_in(self, segment: int) -> int:
        entries = list(enumerate(self.segment(segment), layout.first_chunk(segment)))
        for number, versions in reversed(entries):
            if versions:
                stored = self._stored(number, versions)
                version = versions[0] if stored is None else stored[0]
                return layout.CHUNK * number + version.length
        return 0

    def _stored(self, number: int, versions: tuple[Version, ...]) -> tuple[Version, bytes] | None:
        """The version that is stored, the current one tried first, and its plaintext."""
        at = layout.chunk_at(number)
        for version in versions:
            plain = sectors.chunk(self.keys, number, version, self.backing.at(at, version.length))
            if plain is not None:
                return version, plain
        return None

    def _exists(self, segment: int) -> bool:
        return segment == 0 or segment in self.group(layout.group_of(segment))
