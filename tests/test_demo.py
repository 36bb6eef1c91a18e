"""The demo: what a newcomer sees, on fewer iterations."""

from dataclasses import replace

import pytest
import torch
from samples import contents

from datadam_lite import DataDamError, SyntheticSet, load
from datadam_lite import demo as module
from datadam_lite.profiles import PROFILES

pytestmark = pytest.mark.usefixtures("threads", "figures")


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """A few iterations, a narrow network."""
    quick = PROFILES["quick"]
    protocol = replace(quick.protocol, epochs=2, width=4)
    changes = quick.changes | {"width": 4, "iterations": 3}
    monkeypatch.setitem(PROFILES, "quick", replace(quick, protocol=protocol, changes=changes))


def run(folder, say=lambda line: None):
    return module.demo(folder, sets=2, networks=1, say=say)


def test_the_demo_compares_datadam_with_honest_baselines(tmp_path):
    said = []
    text = run(tmp_path / "demo", said.append)
    lines = text.splitlines()
    assert [line[:20].strip() for line in lines[1:]] == ["random real images", "k-center", "DataDAM"]
    assert all(line.endswith("%") and " ± " in line for line in lines[1:])
    assert "images per class: 1" in lines[0]
    assert "2 sets x 1 network)" in lines[0]
    assert [line[:3] for line in said] == ["1/4", "2/4", "3/4", "4/4"]


def test_the_demo_leaves_table_set_and_picture(tmp_path):
    text = run(tmp_path / "demo")
    written = contents(tmp_path / "demo")
    assert set(written) == {"distilled.png", "distilled.safetensors", "table.txt"}
    assert written["table.txt"].decode() == text + "\n"
    assert SyntheticSet.load(tmp_path / "demo/distilled.safetensors").initial(load("digits")[0]).ipc == 1
    assert written["distilled.png"].startswith(b"\x89PNG")


def test_the_picture_shows_the_real_start_above_what_became_of_it(tmp_path, monkeypatch):
    shown, draw = [], module.show_images
    monkeypatch.setattr(module, "show_images", lambda rows, titles: shown.append((rows, titles)) or draw(rows, titles))
    run(tmp_path)
    ((rows, titles),) = shown
    chosen, (train, _) = SyntheticSet.load(tmp_path / "distilled.safetensors"), load("digits")
    start, end = rows.values()
    torch.testing.assert_close(start, train.images[chosen.initial_rows] / 255, rtol=0, atol=1e-5)
    assert torch.equal(end, chosen.pixels())
    assert titles == train.classes


def test_the_demo_can_be_run_again(tmp_path):
    assert run(tmp_path) == run(tmp_path)


def test_a_full_disk_leaves_what_was_there(tmp_path, request):
    run(tmp_path)
    before = contents(tmp_path)
    request.getfixturevalue("full_disk")
    with pytest.raises(DataDamError, match="No space left on device"):
        run(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["table.txt", "distilled.png"])
def test_a_table_or_picture_that_cannot_be_written(tmp_path, name):
    (tmp_path / name / "in the way").mkdir(parents=True)
    with pytest.raises(DataDamError, match=f"could not write .*{name}"):
        run(tmp_path)
    assert not [file for file in contents(tmp_path) if file.endswith(".part")]
