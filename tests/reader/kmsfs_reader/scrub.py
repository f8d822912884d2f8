"""The check of a whole file: every chunk, FORMAT.md's invariants, and the content root, which finds what was put back."""

from . import header, layout, sectors
from .content import Content
from .errors import Refused


def scrub(content: Content) -> int:
    """Reads all of a file and returns how many chunks it stores, or refuses the file."""
    header.check(content.header)
    if not content.header.dirty:
        _check_end(content)
        if sectors.masked(content.keys, _root(content), content.header.mask) != content.header.masked_root:
            raise Refused("content root", "is not that of the sectors")
    return sum(1 for _ in content.stored_chunks())


def _check_end(content: Content) -> None:
    """Nothing exists behind the end of a clean file."""
    chunks = layout.chunks(content.size)
    for group in range(layout.groups_of(content.size)):
        for segment in content.group(group):
            if layout.first_chunk(segment) >= chunks:
                raise Refused(f"index page of group {group}", f"segment {segment} is behind the end")
    for segment in content.segments():
        for number, versions in enumerate(content.segment(segment), layout.first_chunk(segment)):
            if versions and number >= chunks:
                raise Refused(f"tags of segment {segment}", f"chunk {number} is behind the end")


def _root(content: Content) -> int:
    root = 0
    for group in range(layout.groups_of(content.size)):
        for sector in range(layout.INDEX_SECTORS):
            root ^= sectors.member(content.keys, b"i", group, sector, content.backing.index_sector(group, sector))
    for segment in content.segments():
        for sector in range(layout.tag_sectors(segment)):
            root ^= sectors.member(content.keys, b"t", segment, sector, content.backing.tag_sector(segment, sector))
    return root
