"""A home, opened with its key file: FORMAT.md, section 12. With it, no program of kmsfs is needed to read a volume."""

import hmac
import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from . import keys
from .errors import Refused
from .header import Slot
from .service import BackingKey

TABLES = {
    "meta": ["name", "value"],
    "slots": ["id", "kind", "parameters", "salt", "sealed", "made"],
    "keys": [
        *("id", "state", "origin", "description", "created", "deletion_date"),
        *("manager", "rotation_period", "rotation_next", "policy", "spec", "usage", "role", "pending_window"),
    ],
    "materials": [
        *("id", "key_id", "version", "rotation", "rotated", "sealed"),
        *("import", "valid_to", "description", "uses"),
    ],
    "aliases": ["name", "key_id", "created", "updated"],
    "tombstones": ["key_id", "arn", "created", "deleted"],
    "grants": ["id", "key_id", "name", "grantee", "retiring", "operations", "constraints", "issuer", "created"],
    "tags": ["id", "key_id", "tag", "value"],
    "alarms": ["name", "key_id", "watch", "action", "period", "created"],
    "volumes": ["id", "path", "seen", "counted", "usage"],
    "credentials": ["id", "principal", "created", "sealed"],
}
"""The tables, each with its columns but for the MAC."""

ADDED = {"slots": 1, "keys": 8, "materials": 4}
"""How many columns a table has that its first version lacked: NULL in them is not part of what MACs cover."""

MULTI_REGION = 2
"""The scope of ids that related keys of several regions share."""

Value = int | str | bytes | None


@dataclass(frozen=True)
class Home:
    """The root key of a home, and the rows of its key store, verified."""

    root: bytes
    rows: dict[str, list[tuple[Value, ...]]]

    @property
    def id(self) -> Value:
        """The home's own id."""
        return next(value for name, value in self.rows["meta"] if name == "home")

    def backing_key(self, scope: int, key_id: bytes, material: bytes) -> bytes:
        """One of a CMK's backing keys, in whatever state that is: states are rules of the service, not of the format."""
        part = f"backing key {material.hex()}"
        text = f"mrk-{key_id.hex()}" if scope == MULTI_REGION else str(UUID(bytes=key_id))
        for row_id, row_key, _, _, _, sealed, *_ in self.rows["materials"]:
            if row_id == material.hex() and row_key == text:
                associated = b"kmsfs backing key v1" + key_id + material
                key = _unseal(keys.hkdf(self.root, b"", b"kmsfs sealing 1"), _blob(sealed), associated, part)
                naming = keys.hkdf(self.root, b"", b"kmsfs naming 1")
                if keys.mac(naming, b"kmsfs key material id v1" + key_id + key) != material:
                    raise Refused(part, "has the id of another key")
                return key
        raise Refused(part, "is not in this home")


class HomeKeys:
    """Opens data keys of one volume with the home that it belongs to."""

    def __init__(self, home: Home, volume: Path) -> None:
        self._home = home
        self._volume_id = volume_id(home, volume)

    def data_key(self, slot: Slot) -> bytes:
        """Unwraps what the slot holds."""
        key = self._home.backing_key(slot.wrapped[3], slot.wrapped[4:20], slot.wrapped[20:52])
        return BackingKey(key, self._volume_id).data_key(slot)


def open_home(directory: Path) -> Home:
    """Unlocks a home with the key file that it remembers, and verifies every row of its key store."""
    connection = sqlite3.connect(f"file:{directory / 'keys.db'}?mode=ro", uri=True)
    try:
        rows, macs, heads = {}, {}, {}
        connection.execute("BEGIN")
        for table, columns in TABLES.items():
            stored = connection.execute(f"SELECT {', '.join(columns)}, mac FROM {table}").fetchall()
            rows[table], macs[table] = [row[:-1] for row in stored], [row[-1] for row in stored]
        for name, generation, count, mac in connection.execute("SELECT name, generation, row_count, mac FROM heads"):
            heads[name] = (generation, count, mac)
    finally:
        connection.close()
    root = _root_key(rows["slots"])
    _verify(root, rows, macs, heads)
    return Home(root, rows)


def volume_id(home: Home, volume: Path) -> str:
    """The id of a volume of this home, from its authenticated configuration."""
    part = ".kmsfs/volume.json"
    configuration = json.loads((volume / part).read_text(encoding="utf-8"))
    if configuration["format"] != 1:
        raise Refused(part, f"is of format {configuration['format']}")
    provider = configuration["provider"]
    message = keys.i64(configuration["format"])
    for text in (configuration["id"], provider["kind"], provider["home"], configuration["defaultKey"]):
        message += keys.i64(len(text.encode())) + text.encode()
    purpose = b"kmsfs volume configuration 1"
    key = keys.hkdf(home.root, b"", b"kmsfs volumes 1")
    expected = keys.mac(key, keys.i64(len(purpose)) + purpose + message).hex()
    if provider["home"] != home.id or not hmac.compare_digest(expected, configuration["mac"]):
        raise Refused(part, "is not as this home wrote it")
    return str(configuration["id"])


def _root_key(slots: list[tuple[Value, ...]]) -> bytes:
    refusals = []
    for _, kind, path, salt, sealed, _ in slots:
        if kind == "key-file":
            try:
                key_file = os.fsdecode(_blob(path))
                key = keys.hkdf(Path(key_file).read_bytes(), _blob(salt), b"kmsfs slot key-file 1")
                return _unseal(key, _blob(sealed), b"kmsfs root key 1", f"root key under {key_file}")
            except (OSError, Refused) as refusal:
                refusals.append(str(refusal))
    raise Refused("root key", "; ".join(refusals) or "no slot is of a kind that is known")


def _blob(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise Refused("keys.db", f"has {value!r} where bytes belong")
    return value


def _unseal(key: bytes, sealed: bytes, associated: bytes, part: str) -> bytes:
    """Opens `nonce | ciphertext | tag`."""
    plain = keys.open_sealed(key, sealed[:12], sealed[12:-16], sealed[-16:], associated)
    if plain is None:
        raise Refused(part, "does not authenticate")
    return plain


def _verify(
    root: bytes,
    rows: dict[str, list[tuple[Value, ...]]],
    macs: dict[str, list[bytes]],
    heads: dict[str, tuple[int, int, bytes]],
) -> None:
    ledger = keys.hkdf(root, b"", b"kmsfs ledger 1")
    row_key, digest_key, head_key = (keys.hkdf(ledger, b"", b"kmsfs %s v1" % what) for what in (b"row", b"digest", b"head"))
    if set(heads) != set(TABLES) or len({generation for generation, _, _ in heads.values()}) != 1:
        raise Refused("heads", "are not one for each table, of one generation")
    for table, stored in rows.items():
        digest = 0
        for row, mac in zip(stored, macs[table], strict=True):
            message = _encoded(table, row)
            if not hmac.compare_digest(keys.mac(row_key, message), mac):
                raise Refused(f"row {row[0]!r} of table {table}", "does not authenticate")
            digest ^= int.from_bytes(keys.mac(digest_key, message), "big")
        generation, count, mac = heads[table]
        head = _encoded(table, ()) + keys.i64(generation) + keys.i64(count) + digest.to_bytes(32, "big")
        if count != len(stored) or not hmac.compare_digest(keys.mac(head_key, head), mac):
            raise Refused(f"head of table {table}", "does not authenticate")


def _encoded(table: str, row: tuple[Value, ...]) -> bytes:
    joined = b""
    for _ in range(ADDED.get(table, 0)):
        row = row[:-1] if row and row[-1] is None else row
    for value in (table, *row):
        match value:
            case None:
                kind, raw = 0, b""
            case int():
                kind, raw = 1, value.to_bytes(8, "big", signed=True)
            case str():
                kind, raw = 3, value.encode()
            case _:
                kind, raw = 4, bytes(value)
        joined += bytes([kind]) + keys.i64(len(raw)) + raw
    return joined
