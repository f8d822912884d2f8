"""Throughput and latency of `kmsfs serve` on loopback, beside moto's server (PyPI) in the same run.

What is measured: GenerateDataKey and Decrypt over HTTP/1.1 with keep-alive, one request after another on each connection, from the first byte
sent to the last byte received. Each request is signed once, before, and then sent again as the same bytes: both servers get the same, kmsfs
verifies every signature and records every use of the key in its audit log, and moto does neither. moto's server ends each connection with its answer,
so what a new one costs is in its figures. A connection is a process of its own, so that this
client is not what limits.
"""

import argparse
import base64
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION = "us-east-1"


def wire(port, credential, target, body):
    """One signed request, as bytes."""
    request = AWSRequest(method="POST", url=f"http://127.0.0.1:{port}/", data=json.dumps(body).encode())
    request.headers["Host"] = f"127.0.0.1:{port}"
    request.headers["Content-Type"] = "application/x-amz-json-1.1"
    request.headers["X-Amz-Target"] = f"TrentService.{target}"
    SigV4Auth(Credentials(*credential), "kms", REGION).add_auth(request)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return f"POST / HTTP/1.1\r\n{head}Content-Length: {len(request.data)}\r\n\r\n".encode() + request.data


def one_answer(connection):
    """Reads one answer: its status, and whether the server ends the connection with it."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536) or sys.exit("the server closed the connection")
    head, _, rest = got.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    while len(rest) < length:
        rest += connection.recv(65536) or sys.exit("the server closed the connection")
    return head.split(b" ")[1], head.startswith(b"HTTP/1.0") or b"\r\nconnection: close" in head.lower()


def ask(port, request, seconds, barrier, results):
    """One connection, for so many seconds; its latencies."""
    connection = connected(port)
    barrier.wait()
    times, end = [], time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        connection = connection or connected(port)
        connection.sendall(request)
        status, closes = one_answer(connection)
        times.append(time.perf_counter() - begun)
        if status != b"200":
            sys.exit("a request was refused")
        if closes:
            connection = connection.close()
    results.put(times)


def connected(port):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def measure(port, request, connections, seconds):
    """Requests a second, and the median and the 99th percentile in milliseconds."""
    barrier, results = multiprocessing.Barrier(connections), multiprocessing.Queue()
    workers = [multiprocessing.Process(target=ask, args=(port, request, seconds, barrier, results)) for _ in range(connections)]
    for worker in workers:
        worker.start()
    times = sorted(one for _ in workers for one in results.get(timeout=seconds + 60))
    for worker in workers:
        worker.join()
    return len(times) / seconds, times[len(times) // 2] * 1000, times[len(times) * 99 // 100] * 1000


def wait_for(port):
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("a server did not start")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kmsfs", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="kmsfs-bench-"))
    environment = {**os.environ, "KMSFS_HOME": str(directory / "home")}
    servers = []

    def kmsfs(*words):
        return subprocess.run([options.kmsfs, *words], env=environment, check=True, capture_output=True, text=True).stdout

    try:
        kmsfs("setup", "--key-file", str(directory / "key-file"), "--no-recovery-code")
        made = json.loads(kmsfs("credentials", "create", "--principal", "root", "--json"))
        credential = (made["accessKeyId"], made["secretAccessKey"])
        moto = str(Path(sys.executable).parent / "moto_server")
        print(f"{os.cpu_count()} cores, {options.seconds:g} s a figure\n")
        print(f"{'server':8} {'operation':16} {'connections':>11} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}")
        for name in ["kmsfs", "moto"]:
            port = free_port()
            words = {"kmsfs": [options.kmsfs, "serve", "--listen", f"127.0.0.1:{port}"], "moto": [moto, "-p", str(port)]}[name]
            log = subprocess.DEVNULL
            servers.append(subprocess.Popen(words, env=environment, stdin=log, stdout=log, stderr=log))
            wait_for(port)
            client = boto3.client(
                "kms",
                endpoint_url=f"http://127.0.0.1:{port}",
                region_name=REGION,
                aws_access_key_id=credential[0],
                aws_secret_access_key=credential[1],
            )
            key = client.create_key()["KeyMetadata"]["KeyId"]
            made_key = client.generate_data_key(KeyId=key, KeySpec="AES_256")
            sealed = base64.b64encode(made_key["CiphertextBlob"]).decode()
            for operation, body in [
                ("GenerateDataKey", {"KeyId": key, "KeySpec": "AES_256"}),
                ("Decrypt", {"CiphertextBlob": sealed}),
            ]:
                for connections in [1, 16]:
                    request = wire(port, credential, operation, body)
                    rate, median, tail = measure(port, request, connections, options.seconds)
                    print(f"{name:8} {operation:16} {connections:11} {rate:11.0f} {median:8.2f} {tail:8.2f}", flush=True)
    finally:
        for server in servers:
            server.terminate()
            server.wait(timeout=30)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
