"""What docs/CLIENTS.md shows is what happens: its commands and its Python are run in their order, in one terminal."""

import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from conftest import KMSFS

DOCUMENT = Path(__file__).parents[2] / "docs" / "CLIENTS.md"
MARK = "\x1e"
PORT = "4599"


def blocks(text):
    """The blocks that are run: commands with what they print, and Python with what it prints."""
    for kind, body in re.findall(r"```(console|python)\n(.*?)```", text, re.S):
        if kind == "python":
            yield "python", body, None
            continue
        for part in re.split(r"(?m)^\$ ", body)[1:]:
            command, _, output = part.partition("\n")
            yield "console", command, output


def test_the_document_is_what_happens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = list(blocks(text.replace(PORT, port)))
    assert len(shown) > 25
    with tempfile.TemporaryDirectory(prefix="kmsfs-document-") as home:
        script = ["exec 2>&1", "trap 'kill $(jobs -p); wait' EXIT"]
        for number, (kind, body, _) in enumerate(shown):
            script.append(f"printf '{MARK}'")
            if kind == "python":
                (Path(home) / f"{number}.py").write_text(body, encoding="utf-8")
                script.append(f"python {number}.py")
            else:
                script.append(body)
            if body.startswith("kmsfs serve --listen"):
                # A person types no faster.
                script.append(f"for i in $(seq 100); do curl -s http://127.0.0.1:{port}/healthz >/dev/null && break; sleep 0.1; done")
        programs = f"{Path(KMSFS).parent}:{Path(sys.executable).parent}"
        done = subprocess.run(
            ["bash", "-m", "-c", "\n".join(script)],
            env={"HOME": home, "PATH": f"{programs}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    outputs = done.stdout.split(MARK)[1:]
    assert len(outputs) == len(shown), done.stdout
    for (kind, body, expected), output in zip(shown, outputs, strict=True):
        if kind == "python":
            assert output == "InvalidCiphertextException\nEnabled\n"
        else:
            assert output.strip("\n") == expected.strip("\n"), (body, output)
