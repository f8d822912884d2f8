"""Which header is in force: FORMAT.md, section 5, steps 1 and 2."""

from . import header, layout
from .backing import Backing
from .content import Content
from .errors import Refused
from .header import Slot
from .service import KeySource, volume_of


def open_content(backing: Backing, keys: KeySource) -> Content:
    """Finds the header in force and what the file says under it."""
    if backing.size < layout.PAGE:
        raise Refused("backing file", f"has {backing.size} bytes, less than the page that every file has")
    slots, refusals = _possible_slots(backing)
    if not slots:
        raise Refused("header", "; ".join(refusals))
    data_key = keys.data_key(slots[0])
    for slot in slots:
        if header.authentic(slot, data_key):
            return Content(backing, slot, data_key)
        refusals.append(f"{slot.name}: its MAC does not hold")
    raise Refused("header", "; ".join(refusals))


def content_of(path: str) -> str:
    """What holds a file's content: its successor, where another file is taking its place (section 5, at its end)."""
    with Backing(path) as backing:
        if backing.size < layout.PAGE:
            return path
        slots, _ = _possible_slots(backing)
    try:
        volume = volume_of(path)
    except Refused:
        return path
    successor = volume / ".kmsfs" / "next" / slots[0].file_id.hex() if slots else None
    return str(successor) if successor and successor.is_file() else path


def _possible_slots(backing: Backing) -> tuple[list[Slot], list[str]]:
    slots, refusals = [], []
    for number, name in enumerate(("slot A", "slot B")):
        try:
            slots.append(header.parse(name, backing.slot(number)))
        except Refused as refusal:
            refusals.append(str(refusal))
    return sorted(slots, key=lambda slot: slot.sequence, reverse=True), refusals
