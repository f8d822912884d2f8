"""The command line."""

import argparse
import functools
import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import layout
from .backing import Backing
from .content import Content
from .errors import Refused
from .home import Home, HomeKeys, open_home
from .opening import content_of, open_content
from .scrub import scrub
from .service import BackingKey, GivenKey, KeyService, KeySource, configured_id, volume_of

Request = dict[str, Any]
"""What is asked of one file: the names are those of the options."""

REFUSED = 1
"""The exit code where a file was refused."""


def main() -> int:
    """Reads the files that are named, and says of each in a line of JSON what there was."""
    options = _options()
    status = 0
    for request in _requests(options):
        answer: dict[str, object]
        try:
            answer = _read(request["file"], _key_source(options, request["file"]), request)
        except Refused as refusal:
            answer = {"refused": str(refusal)}
            status = REFUSED
        print(json.dumps({"file": request["file"]} | answer), flush=True)
    return 0 if options.batch else status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="kmsfs_reader",
        description="Reads encrypted files of kmsfs beneath the mount. Data keys come from the key service's command line, "
        "or are opened here, with --home, --backing-key or --data-key.",
    )
    parser.add_argument("files", metavar="FILE", nargs="*", help="an encrypted file")
    parser.add_argument("--output", metavar="FILE", help="writes the plaintext there, with its holes")
    parser.add_argument("--scrub", action="store_true", help="checks what reading alone does not: the content root")
    parser.add_argument("--salvage", action="store_true", help="leaves a hole for each chunk that is refused, and lists them")
    parser.add_argument("--kms", metavar="COMMAND", default="kmsfs kms", help="[default: kmsfs kms]")
    parser.add_argument("--home", metavar="DIR", help="the home of the file's volume, with its key file where it says")
    parser.add_argument("--backing-key", metavar="HEX", help="the CMK's key that the file's data key is wrapped under")
    parser.add_argument("--data-key", metavar="HEX", help="the file's data key")
    parser.add_argument("--volume-id", metavar="UUID", help="instead of the one in .kmsfs/volume.json above the file")
    parser.add_argument(
        "--batch",
        action="store_true",
        help='reads requests from standard input, each a line {"file": FILE, "output": FILE, "scrub": BOOL, "salvage": BOOL}',
    )
    options = parser.parse_args()
    if bool(options.files) == options.batch:
        parser.error("name files, or say --batch")
    if options.output and len(options.files) > 1:
        parser.error("--output is for one FILE")
    return options


def _requests(options: argparse.Namespace) -> Iterator[Request]:
    if options.batch:
        yield from (json.loads(line) for line in sys.stdin)
    for path in options.files:
        yield {"file": path, "output": options.output, "scrub": options.scrub, "salvage": options.salvage}


def _key_source(options: argparse.Namespace, path: str) -> KeySource:
    if options.data_key:
        return GivenKey(bytes.fromhex(options.data_key))
    if options.home:
        return HomeKeys(_home(options.home), volume_of(path))
    volume_id = options.volume_id or configured_id(volume_of(path))
    if options.backing_key:
        return BackingKey(bytes.fromhex(options.backing_key), volume_id)
    return KeyService(shlex.split(options.kms), volume_id)


@functools.cache
def _home(directory: str) -> Home:
    return open_home(Path(directory))


def _read(path: str, key: KeySource, request: Request) -> dict[str, object]:
    """Reads a file, and says what there was."""
    with Backing(content_of(path)) as backing:
        content = open_content(backing, key)
        if request.get("scrub"):
            scrub(content)
        refused: list[int] = []
        chunks = _salvaged(content, refused) if request.get("salvage") else content.stored_chunks()
        count = _write(content.size, chunks, request["output"]) if request.get("output") else sum(1 for _ in chunks)
    header = content.header
    return {
        "size": content.size,
        "chunks": count,
        "refused chunks": refused,
        "dirty": header.dirty,
        "sequence": header.sequence,
        "id": header.file_id.hex(),
        "arn": header.arn,
    }


def _salvaged(content: Content, refused: list[int]) -> Iterator[tuple[int, bytes]]:
    """The chunks that can be read; the numbers of the others go into `refused`."""
    for number in range(layout.chunks(content.size)):
        try:
            plain = content.chunk(number)
        except Refused:
            refused.append(number)
            continue
        if plain is not None:
            yield number, plain


def _write(size: int, chunks: Iterator[tuple[int, bytes]], output: str) -> int:
    """Writes the plaintext, and counts the chunks in it. The file gets its name when all of it has authenticated."""
    count, waiting = 0, f"{output}.part"
    with open(waiting, "wb") as plaintext:
        os.ftruncate(plaintext.fileno(), size)
        for number, plain in chunks:
            plaintext.seek(layout.CHUNK * number)
            plaintext.write(plain)
            count += 1
    os.replace(waiting, output)
    return count


if __name__ == "__main__":
    sys.exit(main())
