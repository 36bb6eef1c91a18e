"""Profiles, and the progress bar that shows itself only where somebody watches."""

import os
import sys

import pytest
import torch

from datadam_lite import DataDamError, recipe
from datadam_lite.datasets import DATASETS
from datadam_lite.profiles import PROFILES, use_profile
from datadam_lite.progress import bar, watched

pytestmark = pytest.mark.usefixtures("threads")


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_fits_the_data_sets_and_recipes(name):
    profile = use_profile(name)
    assert profile.name == name
    assert profile.data in DATASETS
    assert recipe("datadam", **profile.changes).width == profile.protocol.width


def test_the_environment_names_the_profile(monkeypatch):
    assert use_profile().name == "quick"
    monkeypatch.setenv("DATADAM_PROFILE", "colab")
    assert use_profile().name == "colab"
    assert use_profile("quick").name == "quick"


def test_a_gpu_decides_where_the_environment_does_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert use_profile().name == "colab"
    monkeypatch.setenv("DATADAM_PROFILE", "quick")
    assert use_profile().name == "quick"


def test_an_unknown_profile(monkeypatch):
    monkeypatch.setenv("DATADAM_PROFILE", "slow")
    with pytest.raises(DataDamError, match=r"unknown profile \(DATADAM_PROFILE\) 'slow'; the known ones are quick"):
        use_profile()


def test_a_profile_sets_its_threads():
    torch.set_num_threads(2)
    use_profile("colab")
    assert torch.get_num_threads() == 2
    use_profile("quick")
    assert torch.get_num_threads() == PROFILES["quick"].threads


class Terminal:
    """A stand-in for standard error."""

    def __init__(self, watched):
        self.isatty = lambda: watched


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(("disable", "allowed"), [(None, True), ("", True), ("0", True), ("1", False)])
def test_a_bar_is_shown_in_a_terminal_unless_disabled(monkeypatch, terminal, disable, allowed):
    monkeypatch.setattr(sys, "stderr", Terminal(terminal))
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(os, "environ", {} if disable is None else {"TQDM_DISABLE": disable})
    assert watched() == (terminal and allowed)


def test_a_bar_is_shown_in_a_notebook(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal(False))
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.delenv("TQDM_DISABLE")
    assert watched()


def test_a_bar_nobody_sees_passes_everything_on(capsys):
    assert list(bar(range(5))) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""
