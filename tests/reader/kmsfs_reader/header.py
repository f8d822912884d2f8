"""Header slots: FORMAT.md, section 4, "Header slot"."""

import hmac
from dataclasses import dataclass

from . import keys, layout
from .errors import Refused

MAGIC = b"kmsfs\r\n\x1a"
DIRTY, RECOUNTED, SYNCED = 1, 2, 4
NONE, APPEND, GROWTH, TRUNCATION = range(4)
ROOM = 836
"""Bytes for the ARN and the wrapped data key together."""


@dataclass(frozen=True)
class Slot:
    """A header slot whose fields are possible. Nothing says yet that it is authentic."""

    name: str
    raw: bytes
    flags: int
    sequence: int
    file_id: bytes
    committed: int
    acknowledged: int
    target: int
    change: int
    key_version: int
    material: bytes
    mask: bytes
    masked_root: bytes
    arn: str
    wrapped: bytes

    @property
    def dirty(self) -> bool:
        """Whether the file was being changed when the header was written."""
        return bool(self.flags & DIRTY)


def parse(name: str, raw: bytes) -> Slot:
    """Reads a slot of 1024 bytes, or refuses it by the name of the field."""

    def number(offset: int, length: int) -> int:
        return int.from_bytes(raw[offset : offset + length], "big")

    def demand(holds: bool, reason: str) -> None:
        if not holds:
            raise Refused(name, reason)

    demand(len(raw) == layout.SLOT, "the file ends within it")
    demand(any(raw), "never written")
    demand(raw[:8] == MAGIC, "wrong magic")
    demand(number(8, 2) == 1, f"format version {number(8, 2)}")
    demand(number(10, 2) == 1, f"suite {number(10, 2)}")
    demand(number(12, 4) & ~(DIRTY | RECOUNTED | SYNCED) == 0, f"unknown flags {number(12, 4):#x}")
    demand(max(number(at, 8) for at in (40, 48, 56)) <= layout.LARGEST, "a size above 16 TiB")
    demand(number(64, 4) <= TRUNCATION, f"unknown change of size {number(64, 4)}")
    arn, wrapped = number(152, 2), number(154, 2)
    demand(arn + wrapped <= ROOM, "ARN and wrapped data key are too long together")
    demand(not any(raw[156 + arn + wrapped : 992]), "reserved bytes are not zero")
    try:
        text = raw[156 : 156 + arn].decode()
    except UnicodeDecodeError:
        raise Refused(name, "the ARN is not UTF-8") from None
    return Slot(
        name=name,
        raw=raw,
        flags=number(12, 4),
        sequence=number(16, 8),
        file_id=raw[24:40],
        committed=number(40, 8),
        acknowledged=number(48, 8),
        target=number(56, 8),
        change=number(64, 4),
        key_version=number(68, 4),
        material=raw[72:104],
        mask=raw[104:120],
        masked_root=raw[120:152],
        arn=text,
        wrapped=raw[156 + arn : 156 + arn + wrapped],
    )


def authentic(slot: Slot, data_key: bytes) -> bool:
    """Whether the MAC of a slot holds under a data key."""
    expected = keys.mac(keys.FileKeys(data_key, slot.file_id).header(), slot.raw[:992])
    return hmac.compare_digest(expected, slot.raw[992:])


def check(slot: Slot) -> None:
    """Refuses an authentic header whose fields contradict each other."""

    def demand(holds: bool, reason: str) -> None:
        if not holds:
            raise Refused(slot.name, reason)

    demand(slot.committed <= slot.acknowledged, "committed size above the acknowledged one")
    if slot.change == TRUNCATION:
        demand(slot.committed <= slot.target, "committed size above the target of a truncation")
    if not slot.dirty:
        demand(slot.change == NONE and slot.target == 0, "a change of size under way in a clean header")
        demand(slot.committed == slot.acknowledged, "committed and acknowledged size differ in a clean header")
