"""How a process gives up its rights, for good: limits of the system, and on Linux a list of allowed system calls.

Pure computation asks the system for little: memory, the time, and to read and write the pipes that are open. Whatever
isn't on the list fails with "Operation not permitted", as an OSError that the code can see: opening a file or a
connection, starting a process or a thread, ending another process. That holds for root, too. This file is read in the
sandbox, so it imports nothing of the package.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from errno import EPERM
from pathlib import Path

# Numbers of system calls from Linux's tables: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h
ALLOWED = {  # name: (x86_64, aarch64), None where there is none
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62),
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72),
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216),
    "madvise": (28, 233), "futex": (202, 98), "sched_yield": (24, 124), "getcpu": (309, 168),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "restart_syscall": (219, 128),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
    "gettimeofday": (96, 169), "time": (201, None), "getrusage": (98, 165), "getrandom": (318, 278),
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "sched_getaffinity": (204, 123),
    "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
MACHINES = {  # platform.machine(): its column above, its name in a filter, and the number of the call `seccomp`
    "x86_64": (0, 0xC000003E, 317),
    "aarch64": (1, 0xC00000B7, 277),
}

# linux/filter.h and linux/seccomp.h. A filter is a list of (code, jump if true, jump if false, constant).
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER_AT, MACHINE_AT = 0, 4  # bytes into what the filter looks at
LET_PASS, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000 | EPERM
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER, ALL_THREADS, SIGKILL = 1, 38, 1, 1, 9

UNSEALED = (
    "This system offers no list of allowed system calls (Linux on x86_64 or aarch64 does). The code could read and "
    "change what this account can: grade on such a system, in a container or for students whom you trust."
)


def program(machine: str) -> bytes:
    """The filter for a machine, as the kernel reads it: a call from another kind of machine ends the process.

    >>> len(program("x86_64")) // 8 == len(ALLOWED) + 6
    True
    """
    column, name, _ = MACHINES[machine]
    numbers = [numbers[column] for numbers in ALLOWED.values() if numbers[column] is not None]
    lines = [(LOAD, 0, 0, MACHINE_AT), (JUMP_IF_EQUAL, 1, 0, name), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER_AT)]
    for i, number in enumerate(numbers):
        lines.append((JUMP_IF_EQUAL, len(numbers) - i, 0, number))  # to the last line
    lines += [(RETURN, 0, 0, FAIL), (RETURN, 0, 0, LET_PASS)]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def seal() -> bool:
    """Give up all system calls but the allowed ones, in all threads; return whether that worked, as tried out."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in MACHINES or sys.maxsize < 2**32:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)  # end with the process that asked for this one
    lines = ctypes.create_string_buffer(program(machine), len(program(machine)))
    whole = ctypes.create_string_buffer(struct.pack("HP", len(lines) // 8, ctypes.addressof(lines)))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.syscall(MACHINES[machine][2], SECCOMP_SET_MODE_FILTER, ALL_THREADS, whole)
    try:
        os.close(os.open("/", os.O_RDONLY))
    except PermissionError:
        return True
    except OSError:  # the limit on open files
        return False
    return False


def limit(memory: int, seconds: float) -> tuple[str, ...]:
    """Limit this process: bytes of memory beyond what it has, seconds of computing beyond what it took, no files.

    Returns: a sentence for each limit that this system doesn't have.
    """
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    wanted = {
        "memory": ("RLIMIT_AS", size() + memory if size() else None),
        "computing time": ("RLIMIT_CPU", int(used + seconds) + 1),
        "processes": ("RLIMIT_NPROC", 0),
        "open files": ("RLIMIT_NOFILE", 0),
        "the size of files": ("RLIMIT_FSIZE", 0),
        "the image of a process that crashes": ("RLIMIT_CORE", 0),
    }
    missing = []
    for what, (name, value) in wanted.items():
        try:
            most = resource.getrlimit(getattr(resource, name))[1]
            value = value if most == resource.RLIM_INFINITY else min(value, most)
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, OSError, ValueError, TypeError):
            missing.append(f"This system can't limit {what}.")
    return tuple(missing)


def size() -> int | None:
    """Bytes of address space that this process has; None where the system doesn't say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return None
