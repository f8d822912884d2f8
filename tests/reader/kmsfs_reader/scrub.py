"""The check of a whole file: every chunk, FORMAT.md's invariants, and the content root, which finds what was put back."""

from . import header, layout, sectors
from .content import Content
from .errors import Refused


def scrub(content: Content) -> int:
    """Reads all of a file and returns how many chunks it stores, or refuses the file."""
    header.check(content.header)
    groups = range(layout.groups_of(content.size))
    root = 0
    for group in groups:
        for sector in range(layout.INDEX_SECTORS):
            root ^= _index_sector(content, group, sector)
    for segment in content.segments():
        for sector in range(layout.tag_sectors(segment)):
            root ^= _tag_sector(content, segment, sector)
    count = sum(1 for _ in content.stored_chunks())
    in_force = content.header
    if not in_force.dirty and sectors.masked(content.keys, root, in_force.mask) != in_force.masked_root:
        raise Refused("content root", "is not that of the sectors")
    return count


def _index_sector(content: Content, group: int, sector: int) -> int:
    numbers = content.index(group, sector)
    if not content.header.dirty:
        for number in numbers:
            segment = layout.first_segment(group) + number
            if layout.first_chunk(segment) >= layout.chunks(content.size):
                raise Refused(f"index sector {sector} of group {group}", f"segment {segment} is behind the end")
    return sectors.member(content.keys, b"i", group, sector, content.backing.index_sector(group, sector))


def _tag_sector(content: Content, segment: int, sector: int) -> int:
    entries = content.sector(segment, sector)
    if not content.header.dirty:
        for number, versions in enumerate(entries, layout.first_chunk(segment) + layout.ENTRIES * sector):
            if versions and number >= layout.chunks(content.size):
                raise Refused(f"tag sector {sector} of segment {segment}", f"chunk {number} is behind the end")
    return sectors.member(content.keys, b"t", segment, sector, content.backing.tag_sector(segment, sector))
