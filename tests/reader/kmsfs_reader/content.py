"""What a file says, once its header is known: FORMAT.md, section 5 and, for a dirty file, rule 8."""

import functools
from collections.abc import Iterator

from . import layout, sectors
from .backing import Backing
from .errors import Refused
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
        self.size = self._dirty_size() if header.dirty else self._clean_size()

    def chunk(self, number: int) -> bytes | None:
        """The plaintext of a chunk that the size reaches, or None where it is a hole."""
        segment = layout.segment_of(number)
        if not self._exists(segment):
            return None
        versions = self._entry(number)
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

    def segments(self) -> Iterator[int]:
        """The segments of the file that exist, 0 among them."""
        yield 0
        for group in range(layout.groups_of(self.size)):
            for number in self._group(group):
                segment = layout.first_segment(group) + number
                if layout.first_chunk(segment) < layout.chunks(self.size):
                    yield segment

    def stored_chunks(self) -> Iterator[tuple[int, bytes]]:
        """Each chunk that is not a hole, and its plaintext."""
        for segment in self.segments():
            first = layout.first_chunk(segment)
            for number in range(first, min(first + layout.chunks_of(segment), layout.chunks(self.size))):
                plain = self.chunk(number)
                if plain is not None:
                    yield number, plain

    def sector(self, segment: int, sector: int) -> list[tuple[Version, ...]]:
        """The entries of a tag sector, which is not from after the header in force."""
        raw = self.backing.tag_sector(segment, sector)
        entries = sectors.tag_sector(self.keys, segment, sector, raw)
        sectors.check_epoch(raw, self.header.sequence, f"tag sector {sector} of segment {segment}")
        return entries

    def index(self, group: int, sector: int) -> list[int]:
        """The segments of an index sector that exist, by number within the group."""
        raw = self.backing.index_sector(group, sector)
        numbers = sectors.index_sector(self.keys, group, sector, raw)
        sectors.check_epoch(raw, self.header.sequence, f"index sector {sector} of group {group}")
        return numbers

    def _clean_size(self) -> int:
        size = self.header.committed
        if self.backing.size != layout.backing_size(size):
            raise Refused("backing file", f"has {self.backing.size} bytes, and a clean file of {size} has {layout.backing_size(size)}")
        self.sector(0, 0)
        if size <= layout.FIRST_SIZE:
            self._check_small_root()
        return size

    def _check_small_root(self) -> None:
        root = 0
        for sector in range(layout.tag_sectors(0)):
            root ^= sectors.member(self.keys, b"t", 0, sector, self.backing.tag_sector(0, sector))
        if sectors.masked(self.keys, root, self.header.mask) != self.header.masked_root:
            raise Refused("content root", "is not that of the tag sectors")

    def _dirty_size(self) -> int:
        """The size that recovery would give the file."""
        floor = self.header.committed
        stored = layout.plain_size(self.backing.size)
        if stored < floor:
            raise Refused("backing file", f"ends at {stored}, below the {floor} bytes that were committed")
        self.sector(0, 0)
        stored = self._cut_to_authentic(stored)
        if self.header.change == TRUNCATION:
            return min(self.header.target, stored)
        if self.header.change == GROWTH:
            return min(self.header.acknowledged, stored)
        return min(max(self.header.acknowledged, self._end_of_entries(stored)), stored)

    def _cut_to_authentic(self, stored: int) -> int:
        """The stored size, cut to before what a loss of power tore, but never below the floor."""
        floor = self.header.committed
        for group in range(layout.groups_of(stored)):
            start = layout.CHUNK * layout.first_chunk(layout.first_segment(group))
            try:
                numbers = self._group(group)
            except Refused:
                if start >= floor:
                    return start
                continue
            for number in numbers:
                segment = layout.first_segment(group) + number
                start = layout.CHUNK * layout.first_chunk(segment)
                if floor <= start < stored and not self._whole(segment):
                    return start
        return stored

    def _whole(self, segment: int) -> bool:
        try:
            for sector in range(layout.tag_sectors(segment)):
                self.sector(segment, sector)
        except Refused:
            return False
        return True

    def _end_of_entries(self, stored: int) -> int:
        """Where the last chunk ends that has an entry."""
        end = 0
        for segment in self._known_segments(stored):
            for sector in range(layout.tag_sectors(segment)):
                try:
                    entries = self.sector(segment, sector)
                except Refused:
                    continue
                for number, versions in enumerate(entries, layout.first_chunk(segment) + layout.ENTRIES * sector):
                    if versions and layout.CHUNK * number < stored:
                        end = max(end, layout.CHUNK * number + self._stored_length(number, versions))
        return end

    def _known_segments(self, stored: int) -> Iterator[int]:
        yield 0
        for group in range(layout.groups_of(stored)):
            try:
                numbers = self._group(group)
            except Refused:
                continue
            yield from (layout.first_segment(group) + number for number in numbers)

    def _stored_length(self, number: int, versions: tuple[Version, ...]) -> int:
        stored = self._stored(number, versions)
        return (versions[0] if stored is None else stored[0]).length

    def _stored(self, number: int, versions: tuple[Version, ...]) -> tuple[Version, bytes] | None:
        """The version that is stored, the current one tried first, and its plaintext."""
        at = layout.chunk_at(number)
        for version in versions:
            plain = sectors.chunk(self.keys, number, version, self.backing.at(at, version.length))
            if plain is not None:
                return version, plain
        return None

    def _exists(self, segment: int) -> bool:
        if segment == 0:
            return True
        number = layout.number_in_group(segment)
        sector = number // layout.SECTOR_SEGMENTS
        return number in self._index(layout.group_of(segment), sector)

    @functools.lru_cache(maxsize=64)
    def _index(self, group: int, sector: int) -> frozenset[int]:
        return frozenset(self.index(group, sector))

    def _group(self, group: int) -> list[int]:
        """The segments of a group that exist, in order."""
        return sorted(n for sector in range(layout.INDEX_SECTORS) for n in self._index(group, sector))

    @functools.lru_cache(maxsize=64)
    def _sector(self, segment: int, sector: int) -> list[tuple[Version, ...]]:
        return self.sector(segment, sector)

    def _entry(self, number: int) -> tuple[Version, ...]:
        within = number - layout.first_chunk(layout.segment_of(number))
        return self._sector(layout.segment_of(number), within // layout.ENTRIES)[within % layout.ENTRIES]
