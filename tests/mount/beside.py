# What the scripts of tests/mount share: each is run in a directory of the mount and in one beside it, and both must say the same.
import ctypes, errno, fcntl, mmap, os, resource, signal, stat, subprocess, sys, time

libc = ctypes.CDLL(None, use_errno=True)
NOBODY = 65534
ZERO = ctypes.c_long(0)


def outcome(call, *arguments, **named):
    """What a call answers, or the name of its errno."""
    try:
        return call(*arguments, **named)
    except OSError as error:
        return errno.errorcode[error.errno]


def c(name, *arguments):
    """A call of the C library, or the name of its errno."""
    answer = getattr(libc, name)(*arguments)
    return errno.errorcode[ctypes.get_errno()] if answer == -1 else answer


def fallocate(fd, mode, offset, length):
    answer = c("fallocate", fd, mode, ctypes.c_long(offset), ctypes.c_long(length))
    if answer == "ENOTSUP" and mode in (0x10, 0x11) and "/outside/" in os.getcwd():
        # tmpfs, for one, zeroes no range: what it would have done is said in other words.
        answer = c("fallocate", fd, 3, ctypes.c_long(offset), ctypes.c_long(length))
        if mode == 0x10 and os.fstat(fd).st_size < offset + length:
            os.ftruncate(fd, offset + length)
    return answer


def as_user(call, uid=NOBODY, gid=NOBODY, groups=()):
    """What a call answers to someone else."""
    out, into = os.pipe()
    if os.fork() == 0:
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.write(into, repr(outcome(call)).encode())
        finally:
            os._exit(0)
    os.close(into)
    os.wait()
    with open(out, "rb") as said:
        return said.read().decode()


def make(name, data=b"x", mode=0o644, owner=None):
    with open(name, "wb") as file:
        file.write(data)
    if owner:
        os.chown(name, *owner)
    os.chmod(name, mode)


def mode(name):
    return oct(os.lstat(name).st_mode)


def say(*what):
    print(*what, flush=True)
