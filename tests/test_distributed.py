"""Several processes compute what one computes, to the bit; and when one dies, the others end and say how to go on.

All that two processes do well is done by one pair of them, as a process takes seconds to start.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from datadam_lite import DataDamError, Distiller, Settings, distill, evaluate, recipe
from datadam_lite.chunks import check_work, even, per_process, slices
from datadam_lite.coresets import random
from datadam_lite.distributed import divided
from datadam_lite.preprocess import Preprocess
from datadam_lite.protocol import Protocol
from datadam_lite.synthetic import SyntheticSet

N = 6  # iterations of a run
RECIPE = recipe("datadam", width=8, real_batch=8, iterations=N, image_lr=1.0)
COMMAND = ["--data", "digits", "--set", "width=8", "--set", "real_batch=8", "--set", "image_lr=1.0"]
pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """As torchrun's processes have: the number of threads decides the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def start(arguments, folder, processes=2):
    """Start a group of processes, with errors in the file `err`; whoever is still alive after a test is killed."""
    places = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parent)])
    command = [sys.executable, "-m", "torch.distributed.run", "--rdzv-backend", "c10d", "--rdzv-endpoint"]
    command += ["localhost:0", "--rdzv-conf", "join_timeout=20", "--nproc-per-node", processes, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": places, "CUDA_VISIBLE_DEVICES": ""}
    with open(folder / "err", "w") as err, open(folder / "out", "w") as out:
        return subprocess.Popen(
            list(map(str, command)), env=environment, cwd=folder, stdout=out, stderr=err, start_new_session=True
        )


def finish(group, folder):
    """Wait for a minute at most; return (exit status, standard error)."""
    try:
        status = group.wait(60)
    finally:
        if group.poll() is None:
            os.killpg(group.pid, signal.SIGKILL)
    return status, (folder / "err").read_text()


def run(arguments, folder, processes=2):
    return finish(start(arguments, folder, processes), folder)


def settings(chunk=None):
    return Settings(device="cpu", chunk=chunk)


def saved(chosen, path):
    return chosen.save(path).read_bytes()


def stopped_at(k, digits, chunk, file):
    """A run that ends after k iterations, with a checkpoint."""
    distiller = Distiller(digits[0], 2, RECIPE, settings=settings(chunk))
    for _ in range(k):
        next(distiller)
    distiller.save_checkpoint(file)


def random_sets(digits):
    fit = Preprocess.fit(digits[0])
    return [SyntheticSet.from_real(digits[0], random(digits[0], 1, seed), fit) for seed in range(2)]


def report(digits):
    """Two sets of three networks each: the second process has one of the first set and all of the second."""
    how = Protocol(epochs=3, width=8, batch=10)
    return evaluate(random_sets(digits), digits[1], networks=3, protocol=how, settings=settings()).accuracies


# ---- two processes are one


PAIR = '''
import json, sys, warnings
import torch
from test_distributed import RECIPE, report, saved, settings, stopped_at
from datadam_lite import DataDamError, Distiller, distill, load, recipe
from datadam_lite.distributed import first_alone, joined, rank, require_same, wait_for_all

digits, found = load("digits"), {}

def refused(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except DataDamError as error:
        return str(error)

def out_of_memory_once(step=Distiller._gradient, left=[1]):
    def gradient(self, drawn):
        if left and rank() == 1:
            left.pop()
            raise torch.OutOfMemoryError
        return step(self, drawn)
    Distiller._gradient = gradient

def distilled(name, chunk=None, **options):
    chosen = distill(digits[0], 2, options.pop("recipe", RECIPE), settings=settings(chunk), **options)
    saved(chosen, f"{name}.{rank()}")

with joined() as say:
    say("said once")
    say(f"said by {rank()}")
    print(f"printed by {rank()}")
    for chunk in (5, 3):
        distilled(chunk, chunk)
        stopped_at(2, digits, chunk, f"{chunk}.checkpoint")
        wait_for_all()
        distilled(f"{chunk} resumed", chunk, checkpoint=f"{chunk}.checkpoint")
        distilled(f"{chunk} begun by one", chunk, checkpoint=f"one.{chunk}.checkpoint")
    distilled("any chunk")
    found["report"] = report(digits)
    found["too few"] = refused(distilled, "", 10)
    found["batch norm"] = refused(distilled, "", recipe=recipe("datadam", width=8, norm="batch"))
    found["not finite"] = refused(distilled, "", 5, recipe=recipe(RECIPE, image_lr=1e38))
    found["disagree"] = refused(require_same, "data", rank())
    found["agree"] = refused(require_same, "data", 3)
    with first_alone():
        found["stood before"] = sorted(__import__("os").listdir("."))
        open(f"alone.{rank()}", "w").close()
    out_of_memory_once()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        distilled("halved", 5)
    found["warned"] = [str(warning.message) for warning in caught]
    json.dump(found, open(f"found.{rank()}", "w"))
'''


@pytest.fixture(scope="module")
def pair(digits, tmp_path_factory):
    """A folder with all that two processes made."""
    folder = tmp_path_factory.mktemp("pair")
    for chunk in (5, 3):
        stopped_at(2, digits, chunk, folder / f"one.{chunk}.checkpoint")
    (folder / "pair.py").write_text(PAIR)
    status, err = run(["pair.py"], folder)
    assert status == 0, err
    return folder


@pytest.fixture(scope="module")
def found(pair):
    return [json.loads((pair / f"found.{rank}").read_text()) for rank in range(2)]


@pytest.mark.parametrize("rank", range(2))
@pytest.mark.parametrize("chunk", [5, 3])
@pytest.mark.parametrize("kind", ["", " resumed", " begun by one"])
def test_two_processes_make_what_one_makes(pair, digits, tmp_path, kind, chunk, rank):
    one = distill(digits[0], 2, RECIPE, settings=settings(chunk))
    assert one.provenance["moved"] > 0.1
    assert (pair / f"{chunk}{kind}.{rank}").read_bytes() == saved(one, tmp_path / "one")


@pytest.mark.parametrize("chunk", [5, 3])
def test_one_process_goes_on_from_the_checkpoint_of_two(pair, digits, tmp_path, chunk):
    file = pair / f"{chunk}.checkpoint"
    goes_on = Distiller(digits[0], 2, RECIPE, settings=settings())
    goes_on.load_checkpoint(file)
    assert (goes_on.iteration, goes_on.chunk) == (2, chunk)
    on = saved(distill(digits[0], 2, RECIPE, settings=settings(), checkpoint=file), tmp_path / "on")
    assert on == saved(distill(digits[0], 2, RECIPE, settings=settings(chunk)), tmp_path / "one")


@pytest.mark.parametrize("name", ["any chunk", "halved"])
def test_with_another_chunk_they_agree_to_rounding(pair, digits, name):
    one, two = distill(digits[0], 2, RECIPE, settings=settings(10)), SyntheticSet.load(pair / f"{name}.0")
    assert two.provenance["numerics"]["chunk"] == 5
    torch.testing.assert_close(two.images, one.images, rtol=0, atol=1e-3)
    torch.testing.assert_close(two.losses, one.losses, rtol=1e-4, atol=0)


def test_out_of_memory_is_the_matter_of_one_process(found):
    assert found[0]["warned"] == []
    assert [text.partition(";")[2] for text in found[1]["warned"]] == [" going on with 3 classes at once"]


def test_the_networks_of_an_evaluation_are_divided(found, digits):
    assert found[0]["report"] == found[1]["report"] == report(digits)


def test_every_process_refuses_the_same(found):
    for what, message in [
        ("too few", "2 processes can't share 1 chunk(s) of the 10 classes; expected a chunk for each."),
        ("batch norm", "there set the recipe's norm_classes, or use the norm instance."),
        ("not finite", "(expected a finite number, and finite pixels after the step)"),
        ("disagree", "the processes of this run don't agree"),
    ]:
        assert message in found[0][what]
        assert found[1][what] == found[0][what]
    assert found[0]["agree"] is found[1]["agree"] is None


def test_the_first_process_is_alone_first(found):
    alone = [[name for name in each["stood before"] if name.startswith("alone")] for each in found]
    assert alone == [[], ["alone.0"]]


def test_once_for_all(pair):
    err, out = (pair / "err").read_text(), (pair / "out").read_text()
    assert err.count("said once\n") == err.count("said by 0\n") == err.count("said by 1\n") == 1
    assert out == "printed by 0\n"


# ---- dividing


@pytest.mark.parametrize("n", range(1, 9))
@pytest.mark.parametrize("length", [0, 1, 7, 8, 100])
def test_parts_hold_everything_once_in_order(length, n):
    items = list(range(length))
    parts = divided(items, n)
    assert [item for part in parts for item in part] == items
    assert len(parts) == n
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("processes", range(1, 13))
@pytest.mark.parametrize("fit", [1, 2, 3, 50])
@pytest.mark.parametrize("classes", [2, 9, 10, 100])
def test_there_is_a_chunk_for_each_process(classes, fit, processes):
    chunks = slices(classes, even(per_process(classes, processes), fit))
    if processes <= classes:
        check_work(len(chunks), classes, processes)
    else:
        with pytest.raises(DataDamError, match=rf"Start {classes} process\(es\)"):
            check_work(len(chunks), classes, processes)


# ---- the command line


def distil_command(out, *more):
    return ["-m", "datadam_lite", "distill", *COMMAND, "--out", out, *more]


def test_bad_input_is_one_sentence(tmp_path):
    status, err = run(["-m", "datadam_lite", "distill", "--data", "digist"], tmp_path)
    assert status != 0
    assert err.count("datadam: unknown data set") == 1
    assert "datadam_lite/" not in err  # no stack of ours; torchrun shows its own
    assert {file.name for file in tmp_path.iterdir()} == {"err", "out"}


@pytest.mark.slow
def test_files_are_written_and_results_said_once(tmp_path):
    arguments = ["--set", f"iterations={N}", "--chunk", 4, "--ipc", 2, "--device", "cpu"]
    assert run(distil_command("two", *arguments), tmp_path)[0] == 0
    assert (tmp_path / "out").read_text().count("20 images") == 1
    assert {file.name for file in tmp_path.iterdir()} == {"err", "out", "two", "two.json"}
    assert run(distil_command("one", *arguments), tmp_path, processes=1)[0] == 0
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()
    assert (tmp_path / "two.json").read_text() == (tmp_path / "one.json").read_text()
    status, err = run(distil_command("two", *arguments), tmp_path)
    assert status != 0
    assert err.count("datadam: two exists") == 1
    evaluation = ["-m", "datadam_lite", "evaluate", "one", "--data", "digits", "--networks", 3, "--epochs", 2, "--json"]
    for name, processes in (("a.json", 1), ("b.json", 2)):
        assert run([*evaluation, name], tmp_path, processes)[0] == 0
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()


def workers(group):
    """The processes that torchrun has started, in the order of their rank."""
    return list(map(int, Path(f"/proc/{group.pid}/task/{group.pid}/children").read_text().split()))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_the_run_which_then_goes_on(tmp_path, digits, victim):
    arguments = distil_command("two", "--set", "iterations=400", "--checkpoint-every", 10, "--device", "cpu")
    group, file = start(arguments, tmp_path), tmp_path / "two.checkpoint"
    try:
        until = time.monotonic() + 60
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(workers(group)[victim], signal.SIGKILL)
        killed = time.monotonic()
    finally:
        status, err = finish(group, tmp_path)
    assert status != 0
    assert time.monotonic() - killed < 60
    said = "another process of this run has died; the same command goes on from two.checkpoint, at iteration "
    assert err.count(said) == 1
    assert "datadam_lite/" not in err
    at = int(err.split(said)[1].split()[0])
    assert 0 < at < 400
    assert at % 10 == 0
    assert run(arguments, tmp_path)[0] == 0
    assert (tmp_path / "out").read_text().startswith("going on from two.checkpoint\n")
    whole = recipe("datadam", width=8, real_batch=8, image_lr=1.0, iterations=400)
    one = distill(digits[0], 1, whole, settings=Settings(device="cpu", chunk=5))
    assert (tmp_path / "two").read_bytes() == saved(one, tmp_path / "one")
