"""Measures kmsfs beside gocryptfs and a bare FUSE passthrough: the same work on each mount, in turn, several rounds.

All backing directories lie on tmpfs, so that no disk is measured; only what waits for the disk, and what the audit log costs, is measured on
a disk. What counts is the ratio between two systems in the same round; the table shows the median of each figure, its spread (least to most), and the median of
the ratios. Run by scripts/bench.
"""

import argparse
import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import synced

MIB = 1 << 20


class System:
    """A filesystem under test, mounted on `mnt`."""

    def __init__(self, name, base):
        self.name = name
        self.base = base / name
        self.mnt = self.base / "mnt"
        self.backing = self.base / "backing"
        self.pid = None
        for path in (self.mnt, self.backing):
            path.mkdir(parents=True)

    def peak_memory(self):
        """The most memory that the daemon had, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024

    def drop_caches(self):
        subprocess.run(["sync", "-f", str(self.mnt)], check=True)
        Path("/proc/sys/vm/drop_caches").write_text("3")


class Kmsfs(System):
    def __init__(self, base, binary):
        super().__init__("kmsfs", base)
        self.binary = binary
        self.environment = {**os.environ, "KMSFS_HOME": str(self.base / "home")}

    def command(self, *arguments):
        run = subprocess.run([self.binary, *arguments], env=self.environment, check=True, capture_output=True, text=True)
        return run.stdout

    def mount(self):
        self.command("setup", "--key-file", str(self.base / "key-file"))
        key = json.loads(self.command("kms", "create-key"))["KeyMetadata"]["KeyId"]
        self.command("init", str(self.backing), "--key", key)
        self.command("mount", str(self.backing), str(self.mnt))
        self.pid = json.loads(self.command("status", "--json"))[0]["pid"]

    def unmount(self):
        self.command("umount", str(self.mnt))


class Foreground(System):
    """One whose process serves until it is unmounted; in its commands, BACKING and MNT stand for the directories."""

    def __init__(self, name, base, serve, create=None):
        super().__init__(name, base)
        self.create, self.serve = create, serve
        self.process = None

    def arguments(self, command):
        return [{"BACKING": str(self.backing), "MNT": str(self.mnt)}.get(word, word) for word in command]

    def mount(self):
        environment = {**os.environ, "HOME": str(self.base), "CRYFS_FRONTEND": "noninteractive", "CRYFS_NO_UPDATE_CHECK": "true"}
        quiet = {"stdout": subprocess.DEVNULL, "env": environment}
        if self.create:
            subprocess.run(self.arguments(self.create), check=True, input=b"password\n", **quiet)
        self.process = subprocess.Popen(self.arguments(self.serve), stdin=subprocess.PIPE, **quiet)
        self.process.stdin.write(b"password\n")
        self.process.stdin.close()
        self.pid = self.process.pid
        wait_for_mount(self.mnt)

    def unmount(self):
        subprocess.run(["umount", str(self.mnt)], check=True)
        self.process.wait(60)


GOCRYPTFS = ["gocryptfs", "-q", "-extpass", "echo password"]
# Other encrypted filesystems by their names: how one is mounted, and how it is made where that is a command of its own.
OTHERS = {
    "gocryptfs": ([*GOCRYPTFS, "-fg", "-nosyslog", "BACKING", "MNT"], [*GOCRYPTFS, "-init", "-scryptn", "10", "BACKING"]),
    "securefs": (["securefs", "mount", "--pass", "password", "BACKING", "MNT"],
                 ["securefs", "create", "--pass", "password", "--rounds", "1", "BACKING"]),
    "encfs": (["encfs", "--standard", "--stdinpass", "-f", "BACKING", "MNT"], None),
    "cryfs": (["cryfs", "-f", "BACKING", "MNT"], None),
}


def wait_for_mount(path):
    until = time.monotonic() + 60
    while not os.path.ismount(path):
        if time.monotonic() > until:
            raise RuntimeError(f"{path} is not mounted")
        time.sleep(0.01)


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def write_blocks(path, block, total):
    data = os.urandom(block)
    with open(path, "wb", buffering=0) as file:
        for _ in range(total // block):
            file.write(data)


def read_blocks(path, block):
    with open(path, "rb", buffering=0) as file:
        while file.read(block):
            pass


def sh(command, **paths):
    environment = {**os.environ, **{name: str(path) for name, path in paths.items()}}
    subprocess.run(["bash", "-c", command], env=environment, check=True, stdout=subprocess.DEVNULL)


def fio(system, kind, jobs, seconds):
    """Random 4 KiB operations a second, past the page cache."""
    command = ["fio", "--name=x", f"--filename={system.mnt}/random", f"--rw={kind}", "--bs=4k", "--direct=1", "--ioengine=psync",
               f"--numjobs={jobs}", "--thread", "--group_reporting", "--time_based", f"--runtime={seconds}", "--size=256M",
               "--randrepeat=0", "--output-format=json"]
    run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=system.base)
    return json.loads(run.stdout)["jobs"][0]["read" if kind == "randread" else "write"]["iops"]


def tree(base):
    """A tree of 2,000 files as an archive: sizes as in a source tree, most of them small."""
    source, sizes = base / "tree", random.Random(1)
    for number in range(2000):
        directory = source / f"d{number % 40}" / f"e{number % 7}"
        directory.mkdir(parents=True, exist_ok=True)
        size = int(min(sizes.lognormvariate(8, 1.3), 400_000))
        (directory / f"file{number}").write_bytes(os.urandom(size // 2).hex().encode())
    sh('tar -C "$base" -cf "$base/tree.tar" tree', base=base)
    shutil.rmtree(source)


def small_files(directory, count):
    directory.mkdir()
    data = os.urandom(1000)
    for number in range(count):
        handle = os.open(directory / str(number), os.O_CREAT | os.O_WRONLY)
        os.write(handle, data)
        os.close(handle)


def read_small_files(directory, count):
    for number in range(count):
        handle = os.open(directory / str(number), os.O_RDONLY)
        os.read(handle, 4096)
        os.close(handle)


def measure(system, base, scale):
    """One round on one system: (figure, value, unit); of a rate more is better, of a time less."""
    mnt, total, count = system.mnt, int(512 * MIB * scale), int(20_000 * scale)
    seconds = max(1, round(4 * scale))
    yield "sequential write, 1 MiB", total / MIB / timed(lambda: write_blocks(mnt / "big", MIB, total)), "MiB/s"
    system.drop_caches()
    yield "sequential read, 1 MiB", total / MIB / timed(lambda: read_blocks(mnt / "big", MIB)), "MiB/s"
    os.unlink(mnt / "big")
    yield "sequential write, 4 KiB", total / 8 / MIB / timed(lambda: write_blocks(mnt / "b", 4096, total // 8)), "MiB/s"
    yield "sequential write, 512 B", total / 32 / MIB / timed(lambda: write_blocks(mnt / "b", 512, total // 32)), "MiB/s"
    os.unlink(mnt / "b")
    write_blocks(mnt / "random", MIB, 256 * MIB)
    for kind, name in (("randread", "read"), ("randwrite", "write")):
        for jobs in (1, 4):
            yield f"random {name}, 4 KiB, {jobs} job{'s' if jobs > 1 else ''}", fio(system, kind, jobs, seconds), "/s"
    os.unlink(mnt / "random")
    yield "unpack 2,000 files", timed(lambda: sh('tar -C "$mnt" -xf "$base/tree.tar"', mnt=mnt, base=base)), "s"
    system.drop_caches()
    yield "ls -lR of them", timed(lambda: sh('ls -lR "$mnt/tree"', mnt=mnt)), "s"
    yield "grep -r in them", timed(lambda: sh('grep -r zzz "$mnt/tree" || true', mnt=mnt)), "s"
    yield "rm -r of them", timed(lambda: shutil.rmtree(mnt / "tree")), "s"
    yield f"create {count:,} files", timed(lambda: small_files(mnt / "small", count)), "s"
    system.drop_caches()
    yield f"open, read, close {count:,} files", timed(lambda: read_small_files(mnt / "small", count)), "s"
    shutil.rmtree(mnt / "small")
    yield "peak memory", system.peak_memory(), "MiB"


# How often each pair of mounts is measured that tells what the audit log costs.
TURNS = 4


def audit_cost(base, where, binary, pairs):
    """What the audit log costs with everything in `base`, which is on `where`: the same build of kmsfs with its log and without, in turn, and
    never the same one twice in a row, since what removing a tree leaves to the kernel slows down what comes next. Where a process and its files
    come to lie in memory makes one of two equal mounts faster than the other for as long as they live, by as much as what is looked for: so the
    mounts are made anew. Answers lines, and rows for JSON."""
    values = {}
    for pair in range(pairs):
        systems = {}
        try:
            order = ("on", "off") if pair % 2 else ("off", "on")
            for name in order:
                system = Kmsfs(base / f"audit-{pair}-{name}", binary)
                system.environment["KMSFS_BENCH_AUDIT"] = name
                system.mount()
                systems[name] = system
            for _ in range(TURNS):
                for name in order:
                    for figure, value in unpack_and_read(systems[name], base):
                        values.setdefault(figure, {}).setdefault(name, []).append(value)
        finally:
            for system in systems.values():
                system.unmount()
                shutil.rmtree(system.base)
    lines, rows = [f"{'on ' + where:34} {'audit log':>21} {'none':>21}   the log costs (half of the turns)"], []
    for figure, by in values.items():
        low, cost, high = statistics.quantiles((on / off - 1 for on, off in zip(by["on"], by["off"])), n=4)
        cells = [f"{statistics.median(by[name]):.2f} ({min(by[name]):.2f}-{max(by[name]):.2f})" for name in ("on", "off")]
        lines.append(f"{figure + ', s':34} {cells[0]:>21} {cells[1]:>21}   {cost:.1%} ({low:.1%} to {high:.1%})")
        turns = len(by["on"])
        rows.append({"figure": figure, "on": where, "unit": "s", "rounds": turns, "audit": by, "the_log_costs": cost, "half": [low, high]})
    return "\n".join(lines), rows


def unpack_and_read(system, base):
    mnt = system.mnt
    yield "unpack 2,000 files", timed(lambda: sh('tar -C "$mnt" -xf "$base/tree.tar"', mnt=mnt, base=base))
    system.drop_caches()
    yield "read them, cold", timed(lambda: sh('grep -r zzz "$mnt/tree" || true', mnt=mnt))
    shutil.rmtree(mnt / "tree")


def better(ours, theirs, unit):
    """How many times better the first is."""
    return ours / theirs if unit.endswith("/s") else theirs / ours


def report(results, others, rounds):
    """The table of what was measured of kmsfs and of `others`, and rows for JSON."""
    titles = " ".join(f"{name:>21}" for name in ("kmsfs", *others))
    lines = [f"{'':34} {titles}   kmsfs is better by ({', '.join(others)})"]
    rows = []
    for figure, (unit, by_system) in results.items():
        cells, row = [], {"figure": figure, "unit": unit, "rounds": rounds, "values": by_system}
        for name in ("kmsfs", *others):
            values = by_system[name]
            digits = 2 if statistics.median(values) < 10 else 0
            spread = f"{min(values):.{digits}f}-{max(values):.{digits}f}"
            cells.append(f"{statistics.median(values):.{digits}f} ({spread})")
        ratios = {}
        for name in others:
            pairs = zip(by_system["kmsfs"], by_system[name])
            ratios[name] = statistics.median(better(ours, theirs, unit) for ours, theirs in pairs)
        row["kmsfs_is_better_by"] = ratios
        rows.append(row)
        values = " ".join(f"{cell:>21}" for cell in cells)
        lines.append(f"{figure + ', ' + unit:34} {values}   {', '.join(f'{ratio:.2f}' for ratio in ratios.values())}")
    return "\n".join(lines), rows


def rounds(base, given, work, results):
    """Has each system under test do its work in `base`, in turn, several rounds; adds to `results` what `work` yields."""
    systems = [Kmsfs(base, given.kmsfs), *(Foreground(name, base, *OTHERS[name]) for name in ("gocryptfs", *given.beside))]
    systems.append(Foreground("passthrough", base, [given.passthrough, "BACKING", "MNT"]))
    mounted = []
    try:
        for system in systems:
            system.mount()
            mounted.append(system)
        for turn in range(given.rounds):
            # Who comes first changes, so that none always has the warmer machine.
            first = turn % len(systems)
            for system in systems[first:] + systems[:first]:
                print(f"round {turn + 1} of {given.rounds}: {system.name}", file=sys.stderr)
                for figure, value, unit in work(system):
                    results.setdefault(figure, (unit, {}))[1].setdefault(system.name, []).append(value)
    finally:
        for system in mounted:
            system.unmount()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kmsfs", required=True, help="the binary")
    parser.add_argument("--passthrough", required=True, help="the example's binary")
    parser.add_argument("--measuring", help="a binary whose audit log can be turned off, to measure what that costs")
    parser.add_argument("--beside", action="append", choices=list(OTHERS)[1:], default=[], help="another encrypted filesystem")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="a part of the full work, for trying out")
    parser.add_argument("--json", help="where to write all values")
    given = parser.parse_args()
    os.umask(0o022)
    base = Path(tempfile.mkdtemp(prefix="kmsfs-bench-", dir="/dev/shm"))
    disk = Path(tempfile.mkdtemp(prefix="kmsfs-bench-", dir="/var/tmp"))
    results = {}
    try:
        tree(base)
        shutil.copy(base / "tree.tar", disk)
        rounds(base, given, lambda system: measure(system, base, given.scale), results)
        rounds(disk, given, lambda system: synced.measure(system.mnt), results)
        of_audit, rows_of_audit = "", []
        # On a disk it is the disk that takes most of the time, and differs most.
        for where, directory, pairs in (("tmpfs", base, 8), ("a disk", disk, 1)) if given.measuring else ():
            text, rows = audit_cost(directory, where, given.measuring, pairs * given.rounds)
            of_audit += f"\n{text}"
            rows_of_audit += rows
    finally:
        shutil.rmtree(base)
        shutil.rmtree(disk)
    text, rows = report(results, ["gocryptfs", *given.beside, "passthrough"], given.rounds)
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), Linux {platform.release()}, "
          f"{given.rounds} rounds: median (least-most)\n{text}{of_audit}")
    if given.json:
        Path(given.json).write_text(json.dumps(rows + rows_of_audit, indent=2) + "\n")


if __name__ == "__main__":
    main()
