"""Tag sectors, index sectors and chunks: FORMAT.md, section 4."""

from dataclasses import dataclass

from . import keys, layout
from .errors import Inauthentic, Refused
from .keys import FileKeys, i64

LABEL = b"kmsfs\x00\x01"
HOLE, ONE, TWO = range(3)


@dataclass(frozen=True)
class Version:
    """What opens one version of a chunk."""

    length: int
    nonce: bytes
    tag: bytes


def _open(file: FileKeys, key: bytes, kind: bytes, number: int, sector: int, raw: bytes, body: int, part: str) -> bytes:
    """The body of a sector; both kinds of sector begin alike."""
    if len(raw) != layout.SECTOR:
        raise Inauthentic(part, "the file ends within it")
    if any(raw[36 + body :]):
        raise Inauthentic(part, "reserved bytes are not zero")
    associated = LABEL + kind + file.file_id + i64(number) + bytes([sector]) + raw[:8]
    plain = keys.open_sealed(key, raw[8:20], raw[36 : 36 + body], raw[20:36], associated)
    if plain is None:
        raise Inauthentic(part, "does not authenticate")
    return plain


def check_epoch(raw: bytes, sequence: int, part: str) -> None:
    """Refuses a sector from after the header in force."""
    epoch = int.from_bytes(raw[:8], "big")
    if epoch > sequence:
        raise Refused(part, f"epoch {epoch} is above header {sequence}: a newer header is missing")


def tag_sector(file: FileKeys, segment: int, sector: int, raw: bytes) -> list[tuple[Version, ...]]:
    """The eight entries of a tag sector: each the versions of its chunk, the current one first, none for a hole."""
    part = f"tag sector {sector} of segment {segment}"
    body = _open(file, file.tags(segment), b"t", segment, sector, raw, 474, part)
    return [_entry(body, number, part) for number in range(layout.ENTRIES)]


def _entry(body: bytes, number: int, part: str) -> tuple[Version, ...]:
    kind = int.from_bytes(body[:2], "big") >> (14 - 2 * number) & 3
    if kind > TWO:
        raise Refused(part, f"entry {number} has kind 3")
    lengths = int.from_bytes(body[2 + 3 * number : 5 + 3 * number], "big")
    both = ((lengths >> 12, 26 + 56 * number), (lengths & 0xFFF, 54 + 56 * number))
    versions = []
    for which, (length, at) in enumerate(both):
        if which < kind:
            versions.append(Version(length + 1, body[at : at + 12], body[at + 12 : at + 28]))
        elif length or any(body[at : at + 28]):
            raise Refused(part, f"entry {number} has bytes in a version that it does not have")
    return tuple(versions)


def index_sector(file: FileKeys, group: int, sector: int, raw: bytes) -> list[int]:
    """The numbers, within the group, of the segments of one index sector that exist."""
    part = f"index sector {sector} of group {group}"
    body = _open(file, file.index(group), b"i", group, sector, raw, 256, part)
    return [
        sector * layout.SECTOR_SEGMENTS + bit
        for bit in range(layout.SECTOR_SEGMENTS)
        if body[bit // 8] >> (7 - bit % 8) & 1
    ]


def chunk(file: FileKeys, number: int, version: Version, ciphertext: bytes) -> bytes | None:
    """One version of a chunk, or None where these bytes are not its."""
    if len(ciphertext) != version.length:
        return None
    associated = LABEL + b"c" + file.file_id + i64(number)
    key = file.content(layout.segment_of(number))
    return keys.open_sealed(key, version.nonce, ciphertext, version.tag, associated)


def member(file: FileKeys, kind: bytes, number: int, sector: int, raw: bytes) -> int:
    """What a tag sector (`t`) or an index sector (`i`) contributes to the content root."""
    return int.from_bytes(keys.mac(file.root(), kind + i64(number) + bytes([sector]) + raw[:36]), "big")


def masked(file: FileKeys, root: int, mask: bytes) -> bytes:
    """A content root as a header has it."""
    return (root ^ int.from_bytes(keys.mac(file.root(), b"m" + mask), "big")).to_bytes(32, "big")
