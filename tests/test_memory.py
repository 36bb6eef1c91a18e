"""Memory that is kept."""

import ctypes
import platform
import subprocess
import sys

import pytest
import torch

from datadam_lite.memory import budget, fits, keep_pages

FAULTS = """
import resource, torch
from datadam_lite import Settings
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.empty(2**26, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
before = faults()
Settings(device="cpu").prepare()
faults()
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_that_was_freed_is_used_again_without_asking_the_system():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, timeout=300, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 100  # 320 MiB anew, in pages of 4 KiB, or of 2 MiB where Linux gives huge ones
    assert after < before / 10


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_c_libraries_are_left_alone(monkeypatch, error):
    def missing(_):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert keep_pages() is False


def test_data_lives_on_a_gpu_if_half_of_its_free_memory_holds_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    gpu = torch.device("cuda")
    assert budget(gpu) == 500
    assert (fits(500, gpu), fits(501, gpu)) == (True, False)
    assert fits(10**15, torch.device("cpu"))
