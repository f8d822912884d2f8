"""One home and one server for all tests: what a client of AWS KMS does, it does here."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

REGION = "us-east-1"
ACCOUNT = "000000000000"
KMSFS = os.environ["KMSFS"]


class Home:
    """A home with a clock that can be moved, and a server of it that asks for signatures."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "HOME": str(directory),
            "KMSFS_HOME": str(directory / "home"),
            "TZ": "UTC",
        }
        self.kmsfs("setup", "--key-file", str(directory / "key-file"), "--no-recovery-code", "--simulated-clock")
        self.process, self.endpoint = None, ""
        self.credentials = {}

    def run(self, *words: str, **options) -> subprocess.CompletedProcess:
        """A command, whatever becomes of it."""
        return subprocess.run(
            words, capture_output=True, text=True, env=self.environment, cwd=self.directory, timeout=60, check=False, **options
        )

    def kmsfs(self, *words: str) -> str:
        """What a command of kmsfs prints, which must succeed."""
        done = self.run(KMSFS, *words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def serve(self) -> None:
        """Starts the server, and waits until it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        self.log = open(self.directory / "server.log", "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [KMSFS, "serve", "--listen", f"127.0.0.1:{port}"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        for _ in range(200):
            try:
                with urllib.request.urlopen(self.endpoint + "/healthz", timeout=1) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                assert self.process.poll() is None, (self.directory / "server.log").read_text()
                time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def stop(self) -> int:
        """Stops the server; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self.log.close()
        return code

    def credential(self, principal: str = "root") -> dict:
        """The credential of a principal, made at its first use."""
        if principal not in self.credentials:
            self.credentials[principal] = self.new_credential(principal)
        return self.credentials[principal]

    def new_credential(self, principal: str) -> dict:
        return json.loads(self.kmsfs("credentials", "create", "--principal", principal, "--json"))

    def client(self, principal: str = "root", region: str = REGION, credential: dict | None = None, **options):
        """A client of boto3, signed, that tries once."""
        credential = credential or self.credential(principal)
        return boto3.client(
            "kms",
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id=credential["accessKeyId"],
            aws_secret_access_key=credential["secretAccessKey"],
            config=Config(retries={"total_max_attempts": 1}, **options),
        )


@pytest.fixture(scope="session")
def home():
    directory = Path(tempfile.mkdtemp(prefix="kmsfs-clients-"))
    made = Home(directory)
    made.serve()
    try:
        yield made
    finally:
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            points = [line.split(" ")[1] for line in mounts]
        for point in points:
            if point.startswith(str(directory)):
                subprocess.run(["umount", "-l", point], check=False)
        code = made.stop()
        said = (directory / "server.log").read_text(encoding="utf-8")
        shutil.rmtree(directory, ignore_errors=True)
        assert code == 0, said
        for credential in made.credentials.values():
            assert credential["secretAccessKey"] not in said


@pytest.fixture(scope="session")
def kms(home):
    """The client of the home's owner."""
    return home.client()


@pytest.fixture
def key(kms):
    """The metadata of a new key."""
    return kms.create_key()["KeyMetadata"]
