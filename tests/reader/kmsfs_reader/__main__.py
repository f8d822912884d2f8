"""The command line."""

import argparse
import hashlib
import json
import os
import shlex
import sys

from . import layout
from .backing import Backing
from .errors import Refused
from .content import Content
from .opening import open_content
from .scrub import scrub
from .service import BackingKey, GivenKey, KeyService, KeySource, volume_of

REFUSED = 1


def main() -> int:
    """Reads the files that are named, or those that standard input names."""
    options = _options()
    if options.batch:
        return _batch()
    status = 0
    for path in options.files:
        try:
            key = _key_source(options, path)
            print(json.dumps({"file": path} | _read(path, key, options.output, options.scrub)))
        except Refused as refusal:
            print(f"{path}: refused: {refusal}", file=sys.stderr)
            status = REFUSED
    return status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kmsfs_reader", description="Reads encrypted files of kmsfs.")
    parser.add_argument("files", metavar="FILE", nargs="*", help="an encrypted file, beneath the mount")
    parser.add_argument("--data-key", metavar="HEX", help="the file's data key; without it, the key service is asked")
    parser.add_argument("--backing-key", metavar="HEX", help="the backing key that it is wrapped under")
    parser.add_argument(
        "--kms", metavar="COMMAND", default="kmsfs kms", help="the key service's command line [default: kmsfs kms]"
    )
    parser.add_argument("--volume-id", metavar="UUID", help="instead of the one in .kmsfs/volume.json above the file")
    parser.add_argument("--output", metavar="FILE", help="writes the plaintext there, with its holes")
    parser.add_argument("--scrub", action="store_true", help="checks what reading alone does not: the content root")
    parser.add_argument(
        "--batch",
        action="store_true",
        help="reads lines `DATA-KEY read|scrub FILE OUTPUT` and answers each with a line: a JSON object",
    )
    options = parser.parse_args()
    if bool(options.files) == options.batch:
        parser.error("name files, or say --batch")
    if options.output and len(options.files) > 1:
        parser.error("--output is for one FILE")
    return options


def _key_source(options: argparse.Namespace, path: str) -> KeySource:
    if options.data_key:
        return GivenKey(bytes.fromhex(options.data_key))
    volume_id = options.volume_id or _volume_id(path)
    if options.backing_key:
        return BackingKey(bytes.fromhex(options.backing_key), volume_id)
    return KeyService(shlex.split(options.kms), volume_id)


def _volume_id(path: str) -> str:
    with open(volume_of(path) / ".kmsfs" / "volume.json", encoding="utf-8") as configuration:
        return json.load(configuration)["id"]


def _batch() -> int:
    for line in sys.stdin:
        key, what, path, output = line.split()
        try:
            answer = _read(path, GivenKey(bytes.fromhex(key)), output, what == "scrub")
        except Refused as refusal:
            answer = {"refused": str(refusal)}
        print(json.dumps(answer), flush=True)
    return 0


def _read(path: str, key: KeySource, output: str | None, whole: bool) -> dict[str, object]:
    """Reads one file, and says what there was. All of it is authenticated before anything is written."""
    with Backing(path) as backing:
        content = open_content(backing, key)
        if whole:
            scrub(content)
        count, digest = 0, hashlib.sha256()
        for number, plain in content.stored_chunks():
            count += 1
            digest.update(number.to_bytes(8, "big") + plain)
        if output:
            _write(content, output)
    in_force = content.header
    return {
        "size": content.size,
        "chunks": count,
        "digest": digest.hexdigest(),
        "dirty": in_force.dirty,
        "sequence": in_force.sequence,
        "id": in_force.file_id.hex(),
        "arn": in_force.arn,
    }


def _write(content: Content, output: str) -> None:
    with open(output, "wb") as plaintext:
        os.ftruncate(plaintext.fileno(), content.size)
        for number, plain in content.stored_chunks():
            plaintext.seek(layout.CHUNK * number)
            plaintext.write(plain)


if __name__ == "__main__":
    sys.exit(main())
