"""Where data keys come from: a key service that is asked by its command line, or a key that is given."""

import base64
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

from .errors import Refused
from .header import Slot
from .keys import DATA_KEY, canonical, encryption_context, hkdf, open_sealed

WRAPPED_DATA_KEY = 128
"""Bytes of a data key that the embedded key service wrapped."""


class KeySource(Protocol):
    """Opens wrapped data keys."""

    def data_key(self, slot: Slot) -> bytes:
        """The data key that a slot holds wrapped, or `Refused`."""


class GivenKey:
    """A data key that whoever calls has had opened already."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def data_key(self, slot: Slot) -> bytes:
        """The given key, whatever the slot holds."""
        return self._key


class BackingKey:
    """The embedded key service's own key, and so what that service does: FORMAT.md, section 3."""

    def __init__(self, key: bytes, volume_id: str) -> None:
        self._key = key
        self._volume_id = volume_id

    def data_key(self, slot: Slot) -> bytes:
        """Unwraps what the slot holds."""
        part, blob = f"data key of {slot.name}", slot.wrapped
        if blob[:4] not in (b"kms\x01", b"kms\x02") or len(blob) != WRAPPED_DATA_KEY:
            raise Refused(part, "was not wrapped by the embedded key service")
        wrapping = hkdf(self._key, blob[52:68], b"kmsfs wrap v1" + blob[4:52])
        associated = blob[:52] + canonical(encryption_context(slot.file_id, self._volume_id))
        key = open_sealed(wrapping, blob[68:80], blob[80:112], blob[112:], associated)
        if key is None:
            raise Refused(part, "does not authenticate")
        return key


class KeyService:
    """The command line of a key service, `kmsfs kms` or `aws kms`: both decrypt alike."""

    def __init__(self, command: list[str], volume_id: str) -> None:
        self._command = command
        self._volume_id = volume_id

    def data_key(self, slot: Slot) -> bytes:
        """Asks the service to decrypt what the slot holds, under the context of the file and the volume."""
        context = json.dumps(encryption_context(slot.file_id, self._volume_id))
        with tempfile.NamedTemporaryFile() as blob:
            blob.write(slot.wrapped)
            blob.flush()
            arguments = ["decrypt", "--ciphertext-blob", f"fileb://{blob.name}", "--encryption-context", context]
            answer = subprocess.run([*self._command, *arguments], capture_output=True, text=True)
        if answer.returncode != 0:
            raise Refused(f"data key of {slot.name}", answer.stderr.strip())
        return _plaintext(slot, answer.stdout)


def _plaintext(slot: Slot, answer: str) -> bytes:
    key = base64.b64decode(json.loads(answer)["Plaintext"], validate=True)
    if len(key) != DATA_KEY:
        raise Refused(f"data key of {slot.name}", f"has {len(key)} bytes instead of {DATA_KEY}")
    return key


def volume_of(path: str) -> Path:
    """The volume that a backing file is in: the nearest directory above it that has a `.kmsfs`."""
    for directory in Path(os.path.realpath(path)).parents:
        if (directory / ".kmsfs" / "volume.json").is_file():
            return directory
    raise Refused("volume", f"no directory above {path} is one")


def configured_id(volume: Path) -> str:
    """The id that a volume's configuration claims. Only its home can tell whether that is true; a wrong one opens nothing."""
    return str(json.loads((volume / ".kmsfs" / "volume.json").read_text(encoding="utf-8"))["id"])
