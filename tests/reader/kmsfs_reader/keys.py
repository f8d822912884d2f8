"""Keys of a file, and what is sealed under them: FORMAT.md, section 3."""

import functools
import hashlib
import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

DATA_KEY = 32


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256, RFC 2104."""
    return hmac.new(key, message, hashlib.sha256).digest()


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256, RFC 5869, expanded to the 32 bytes of one block."""
    return mac(mac(salt, secret), info + b"\x01")


def i64(number: int) -> bytes:
    """A number as eight bytes, the highest first."""
    return number.to_bytes(8, "big")


def open_sealed(key: bytes, nonce: bytes, ciphertext: bytes, tag: bytes, associated: bytes) -> bytes | None:
    """The plaintext of AES-256-GCM, or None where it does not authenticate."""
    try:
        return AESGCM(key).decrypt(nonce, ciphertext + tag, associated)
    except InvalidTag:
        return None


@dataclass(frozen=True)
class FileKeys:
    """The keys that one data key gives one file."""

    data_key: bytes
    file_id: bytes

    @functools.lru_cache(maxsize=256)
    def _key(self, info: bytes) -> bytes:
        return hkdf(self.data_key, self.file_id, info)

    def header(self) -> bytes:
        """Authenticates header slots."""
        return self._key(b"kmsfs 1 header")

    def root(self) -> bytes:
        """Authenticates sectors as members of the content root."""
        return self._key(b"kmsfs 1 root")

    def content(self, segment: int) -> bytes:
        """Seals the chunks of a segment."""
        return self._key(b"kmsfs 1 content" + i64(segment))

    def tags(self, segment: int) -> bytes:
        """Seals the tag sectors of a segment."""
        return self._key(b"kmsfs 1 tags" + i64(segment))

    def index(self, group: int) -> bytes:
        """Seals the index sectors of a group."""
        return self._key(b"kmsfs 1 index" + i64(group))


def encryption_context(file_id: bytes, volume_id: str) -> dict[str, str]:
    """What the data key of a file is bound to in the key service."""
    return {"kmsfs:file": file_id.hex(), "kmsfs:volume": volume_id}


def canonical(context: dict[str, str]) -> bytes:
    """The bytes of an encryption context that are authenticated."""
    pairs = sorted((key.encode(), value.encode()) for key, value in context.items())
    joined = len(pairs).to_bytes(4, "big")
    for pair in pairs:
        for text in pair:
            joined += len(text).to_bytes(4, "big") + text
    return joined
