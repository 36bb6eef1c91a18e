"""Experiments of the papers: what the table promises, how its runs are performed, and what is made of them."""

import json
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

import pytest
import torch
from filelock import FileLock
from samples import contents, image_folder

from datadam_lite import CORESETS, DATASETS, DataDamError, load, recipe, results
from datadam_lite.applications.search import agreement, best
from datadam_lite.applications.trained import trained_networks
from datadam_lite.networks import reset
from datadam_lite.preprocess import Preprocess
from datadam_lite.protocol import Protocol
from datadam_lite.report import Report
from datadam_lite.results import comparison, reproduce, run, run_search, run_untrained, scales
from datadam_lite.results.comparison import clear, compare, cost, describe, pictures, printed, ranks, tables
from datadam_lite.results.experiments import EXPERIMENTS, TRIALS, VARIANTS
from datadam_lite.results.reproduce import plan
from datadam_lite.results.scales import SCALES
from datadam_lite.results.searches import ON_ALL, Search
from datadam_lite.seeding import generator

ALL = [(name, scale) for name in EXPERIMENTS for scale in SCALES]


# ---- the table


@pytest.mark.parametrize(("name", "scale"), ALL)
def test_an_experiment_can_be_performed_at_every_scale(name, scale):
    planned = plan(name, scale)
    assert planned
    assert len({each.name for each in planned}) == len(planned)
    for each in planned:
        assert each.data in DATASETS or reproduce.SIZES[each.data][0] in DATASETS
        if each.run.method not in {*CORESETS, *ON_ALL}:
            recipe(each.run.method, **each.run.changes)  # refuses what does not exist
    assert len(set(EXPERIMENTS[name].rows_at(scale))) == len(EXPERIMENTS[name].rows_at(scale)) >= 2


def test_runs_of_one_name_are_one_run():
    runs = {}
    for name, scale in ALL:
        for each in plan(name, scale):
            key = scale, each.name
            assert runs.setdefault(key, each.run) == each.run


def test_nothing_in_the_tables_is_unused():
    rows = {row for name, scale in ALL for row in EXPERIMENTS[name].rows_at(scale)}
    assert rows == set(VARIANTS)
    assert {EXPERIMENTS[name].trial[scale] for name, scale in ALL} == set(TRIALS)


def test_at_paper_scale_a_recipe_has_its_own_iterations():
    runs = {each.row: each.run for each in plan("study-code", "paper") + plan("table1", "paper")}
    iterations = {row: run.changes["iterations"] for row, run in runs.items() if "iterations" in run.changes}
    assert iterations.pop("code-iterations") == iterations.pop("datadam_code") == iterations.pop("dm") == 20_000
    assert set(iterations.values()) == {8_000}
    assert {(run.sets, run.networks) for run in runs.values()} == {(5, 20)}


def test_a_smaller_scale_has_the_same_share_of_all_iterations():
    runs = {each.row: each.run.changes for each in plan("table1", "quick")}
    assert runs["datadam"]["iterations"] == recipe("datadam").iterations / 40 == 200
    assert runs["dm"]["iterations"] == recipe("dm").iterations / 40 == 500


def test_what_a_row_changes_outdoes_the_scale():
    changes = {each.row: dict(each.run.changes) for each in plan("figure4", "quick")}
    assert changes["lam10"] == changes["datadam"] | {"lam": 10.0}


def test_other_networks_are_protocols_of_their_own():
    names = [each.name for each in plan("atom-networks", "quick")]
    assert names == [f"digits-ipc1-{row}-small-networks" for row in ("datadam", "atom", "dm")]
    protocols = plan("atom-networks", "quick")[0].run.protocols
    assert [p.depth for p in protocols] == [None, 2, 1, None]
    assert len({p.name for p in protocols}) == 4


@pytest.mark.parametrize(
    ("asked", "says"), [(("table9",), "unknown experiment 'table9'"), (("table1", "huge"), "unknown scale 'huge'")]
)
def test_unknown_names(asked, says):
    with pytest.raises(DataDamError, match=says):
        plan(*asked)


def test_what_is_printed_belongs_to_a_row_of_an_experiment():
    own = json.loads((results.FOLDER / "published-experiments.json").read_text(encoding="utf-8"))
    for entry in own:
        places = {(each.row, each.data, each.run.ipc) for each in plan(entry["experiment"], "paper")}
        assert entry["row"] in ("DSA", "CAFE") or (entry["row"], entry["dataset"], entry["ipc"]) in places
        assert entry["source"]
    found = printed("table1", "datadam", "tinyimagenet", 50)
    assert (found["mean"], found["std"]) == (28.7, 0.3)
    assert printed("table3", "datadam", "cifar10", 50, "alexnet")["mean"] == 63.9


# ---- performing


@pytest.fixture
def tiny(monkeypatch):
    """All scales take a second on the digits."""
    short = {name: Protocol(name, epochs=1, width=4) for name in ("fixed", "datadam_code")}
    epochs = {"small": 2, "early": 1, "whole": 1}
    grid = {"depth": (1, 2), "norm": ("batch", "instance", "none"), "pooling": ("avg", "max")}
    small = replace(
        SCALES["quick"], sets=2, networks=2, protocols=short, share=1 / 2000, changes={"width": 4, "real_batch": 4},
        search=Search(grid, Protocol("search", width=4, lr=0.05), held=5, epochs=epochs, sets=2),
        features=Protocol("features", epochs=1, width=4),
    )  # fmt: skip
    monkeypatch.setitem(scales.SCALES, "quick", small)


@pytest.fixture
def spied(monkeypatch):
    """Names of the runs that are really performed."""
    seen, original = [], reproduce.perform

    def perform(run, name, *rest):
        seen.append(name)
        return original(run, name, *rest)

    monkeypatch.setattr(reproduce, "perform", perform)
    return seen


@pytest.fixture
def table6(tiny, threads, tmp_path):
    """Perform table6; return its records by row."""

    def perform(**options):
        places = {"out": tmp_path / "out", "work": tmp_path / "work"}
        return {each.row: record for each, record in reproduce.reproduce("table6", **places | options)}

    return perform


def test_every_run_writes_a_record(table6, tmp_path):
    found = table6()
    assert list(found) == ["datadam", "block1", "block2"]
    assert {file for file in contents(tmp_path / "out") if file.endswith("json")} == {
        f"quick/digits-ipc1-{row}.json" for row in found
    }
    for row, record in found.items():
        file = tmp_path / "out" / "quick" / f"digits-ipc1-{row}.json"
        assert json.loads(file.read_text()) == json.loads(json.dumps(record))
        assert record["rows"][0]["n_sets"] == record["rows"][0]["n_networks"] == 2
        assert record["rows"][0]["scale"] == "quick"
        assert {"date", "seeds", "versions", "hardware", "code_sha256", "data_sha256", "seconds"} <= set(record)
        assert record["cost"]["seconds of a step"] > 0
    assert found["block1"]["recipe"]["layers"] == (1,)


def test_an_experiment_with_two_protocols(tiny, threads, tmp_path):
    found = list(reproduce.reproduce("study-code", sets=1, out=tmp_path / "out", work=tmp_path / "work"))
    assert [each.row for each, _ in found] == list(EXPERIMENTS["study-code"].rows_at("quick"))
    assert {tuple(row["protocol"] for row in record["rows"]) for _, record in found} == {("fixed", "datadam_code")}
    assert len(tables("study-code", "quick", tmp_path / "out", sets=1)) == 2


def test_classes_that_arrive_one_after_the_other(tiny, threads, tmp_path):
    places = {"out": tmp_path / "out", "work": tmp_path / "work"}
    found = {each.row: (each, record) for each, record in reproduce.reproduce("figure7", **places)}
    assert list(found) == ["datadam", "random", "herding", "dm"]
    for each, record in found.values():
        assert each.name == f"digits-ipc2-{each.row}-5-steps"
        (evaluated,) = record["rows"]
        assert evaluated["accuracies"] == [order[0][-1] for order in record["by_step"]]  # after the last step
        assert [[len(steps) for steps in order] for order in record["by_step"]] == [[5], [5]]
        assert {"date", "seeds", "versions", "hardware", "code_sha256", "data_sha256", "seconds"} <= set(record)
    ((title, table),) = tables("figure7", "quick", tmp_path / "out").items()
    assert title.startswith("digits in 5 steps, 2 per class")
    assert table.count("2 x 2") == 4
    before = found["datadam"][1]
    (tmp_path / "out" / "quick" / "digits-ipc2-datadam-5-steps.json").unlink()
    again = {each.row: record for each, record in reproduce.reproduce("figure7", **places | {"work": tmp_path / "new"})}
    assert again["datadam"]["by_step"] == before["by_step"]
    assert printed("figure7", "datadam", "cifar100", 20, steps=10)["mean"] == 39.7


def test_class_orders_measured_under_another_protocol_are_measured_again(tiny, threads, tmp_path, monkeypatch):
    first = next(reproduce.reproduce("figure7", out=tmp_path / "first", work=tmp_path / "work"))[1]
    longer = {name: replace(each, epochs=8, lr=0.1) for name, each in scales.SCALES["quick"].protocols.items()}
    monkeypatch.setitem(scales.SCALES, "quick", replace(scales.SCALES["quick"], protocols=longer))
    second = next(reproduce.reproduce("figure7", out=tmp_path / "second", work=tmp_path / "work"))[1]
    assert second["by_step"] != first["by_step"]


def test_an_architecture_search(tiny, threads, tmp_path):
    places = {"out": tmp_path / "out", "work": tmp_path / "work"}
    found = {each.row: record for each, record in reproduce.reproduce("table8", **places)}
    assert list(found) == ["datadam", "random", "dm", "early", "whole"]
    for record in found.values():
        assert [len(ratings) for ratings in record["rows"][0]["accuracies"]] == [12, 12]  # sets x networks of the grid
        assert set(record["seconds"]) == {"to make", "to rate"}
    ranked = {each["row"]: each for each in ranks("table8", "quick", tmp_path / "out")}
    (truth,) = {tuple(map(fmean, zip(*found["whole"]["rows"][0]["accuracies"], strict=True)))}
    ratings = found["random"]["rows"][0]["accuracies"]
    assert ranked["random"]["agreement"].models == [agreement(each, truth) for each in ratings]
    assert ranked["random"]["top"].models == [agreement(each, truth, 0.2) for each in ratings]
    assert ranked["random"]["best"].models == [truth[best(each)[0]] for each in ratings]
    one, other = found["whole"]["rows"][0]["accuracies"]
    assert ranked["whole"]["agreement"].models == [agreement(one, other), agreement(other, one)]
    ((title, table),) = tables("table8", "quick", tmp_path / "out").items()
    assert title == "digits, 10 per class, scale quick, protocol: search"
    assert table.count("\n") == 6
    assert printed("table8", "datadam", "cifar10", 50)["spearman"] == 0.72


def test_a_search_that_is_killed_goes_on(tiny, threads, tmp_path, monkeypatch):
    original, rated = run_search.rate, []

    def dies(tried, *rest, **options):
        if len(rated) == 1:
            raise KeyboardInterrupt
        rated.append(len(tried))
        return original(tried, *rest, **options)

    monkeypatch.setattr(run_search, "rate", dies)
    with pytest.raises(KeyboardInterrupt):
        next(reproduce.reproduce("table8", out=tmp_path / "out", work=tmp_path / "work"))
    monkeypatch.setattr(run_search, "rate", lambda tried, *a, **o: rated.append(len(tried)) or original(tried, *a, **o))
    (_, record) = next(reproduce.reproduce("table8", out=tmp_path / "out", work=tmp_path / "work"))
    assert rated == [10, 2, 10, 2]  # the first ten are not rated again
    (_, again) = next(reproduce.reproduce("table8", out=tmp_path / "new", work=tmp_path / "other"))
    assert again["rows"] == record["rows"]


def test_a_search_without_the_truth_has_no_ranks(tiny, threads, tmp_path):
    next(reproduce.reproduce("table8", out=tmp_path / "out", work=tmp_path / "work"))
    assert ranks("table8", "quick", tmp_path / "out") == []
    assert tables("table8", "quick", tmp_path / "out") == {}


def test_sets_among_real_images(tiny, threads, tmp_path):
    found = {each.row: (each, r) for each, r in reproduce.reproduce("figure5", out=tmp_path / "o", work=tmp_path / "w")}
    assert list(found) == ["datadam", "random", "dm"]
    for each, record in found.values():
        assert each.name == f"digits-ipc10-{each.row}-features"
        points = record["plane"]
        assert len(points["real"]) == len(points["labels"]) == 480  # 48 of the rarest test digit
        assert len(points["set"]) == len(points["set labels"]) == 100
        assert all(0 <= right <= 100 for (right,) in record["rows"][0]["accuracies"])
    assert len({tuple(record["plane"]["labels"]) for _, record in found.values()}) == 1
    assert tables("figure5", "quick", tmp_path / "o")


def test_in_a_network_that_knows_the_classes_random_images_lie_among_their_own(tiny, threads, tmp_path, monkeypatch):
    learned = Protocol("features", epochs=20, batch=64, lr=0.05, width=8)
    monkeypatch.setitem(scales.SCALES, "quick", replace(scales.SCALES["quick"], features=learned))
    *_, (_, random), _ = reproduce.reproduce("figure5", out=tmp_path / "out", work=tmp_path / "work")
    assert random["rows"][0]["mean"] > 80


def test_the_nearest_image_in_networks_that_have_learned_nothing(tiny, threads, tmp_path):
    found = list(reproduce.reproduce("study-untrained", out=tmp_path / "o", work=tmp_path / "w"))
    rows = {each.row: record["rows"] for each, record in found}
    assert [each.name for each, _ in found] == [f"digits-ipc1-{row}-untrained" for row in rows]
    assert list(rows) == ["datadam", "code-norm", "random"]
    for found in rows.values():
        told = [row["protocol"].removeprefix("none, random networks with ") for row in found]
        assert told == ["instance norm", "batch norm", "batch norm, usual strengths"]
        assert len({str(row["accuracies"]) for row in found}) == 3
        assert {len(networks) for row in found for networks in row["accuracies"]} == {10}
    assert len(tables("study-untrained", "quick", tmp_path / "o")) == 3


def test_the_nearest_image_is_the_one_found_by_hand(tiny, threads, tmp_path):
    train, test = load("digits")
    random = plan("study-untrained")[-1]
    record, _ = run_untrained.perform_untrained(random.run, random.name, train, test, tmp_path)
    protocol, spaces = random.run.protocols[0], Preprocess.fit(train)
    network = reset(protocol.build(train.shape, 10), generator(3, "random network")).eval()
    real, ten = (spaces.apply(images) for images in (test.images, train.images[CORESETS["random"](train, 1, 0)]))
    rows = test.sample(48, generator(0, "images shown"))  # 48 of the rarest digit
    with torch.no_grad():
        distances = (network(real[rows]).embedding[:, None] - network(ten).embedding).norm(dim=2)
    right = (distances.argmin(1) == test.labels[rows]).double().mean().item()
    assert record["rows"][0]["accuracies"][0][3] == pytest.approx(100 * right, abs=0.5)


def test_random_networks_with_batch_norm_have_the_statistics_of_real_images():
    train, _ = load("digits")
    images = Preprocess.fit(train).apply(train.images[:500])
    network = run_untrained.random_network(Protocol(width=8, norm="batch"), 10, images, 0)
    with torch.no_grad():
        kept, own = network(images).embedding, network.train()(images).embedding
    assert torch.allclose(kept, own, atol=1e-2)


def test_usual_strengths_are_those_of_real_images_and_leave_the_means():
    train, _ = load("digits")
    images = Preprocess.fit(train).apply(train.images[:500])
    network, seen = run_untrained.random_network(Protocol(width=8, norm="batch"), 10, images, 0), []
    first = next(layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    with torch.no_grad():
        first.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        network(images)
        run_untrained.respond_as_usual(network, images)
        first.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        network(7 * images[:3])
    before, after = seen[0], seen[-1]
    expected = before.std((2, 3)).mean(0).expand(3, -1)
    assert torch.allclose(after.std((2, 3)), expected, rtol=1e-3)
    assert not torch.allclose(before[:3].std((2, 3)), expected, rtol=0.1)
    assert torch.allclose(after.mean((2, 3)), seen[-2].mean((2, 3)), atol=1e-4)


def test_trained_networks_in_the_place_of_random_ones(tiny, threads, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "trained_networks", partial(trained_networks, n=2))
    chosen = [each for each in plan("table7") if each.row in ("datadam", "trained20")]
    train, test = load("digits")
    records = [run.perform(each.run, each.name, train, test, tmp_path)[0] for each in chosen]
    assert "trained" not in records[0]["run"]
    assert records[1]["run"]["trained"] == [20, 40]
    assert records[0]["losses"] != records[1]["losses"]


def test_what_is_done_is_not_done_again(table6, spied, tmp_path):
    first = table6()
    assert len(spied) == 3
    again = table6()
    assert len(spied) == 3
    assert {row: record["rows"] for row, record in again.items()} == {row: r["rows"] for row, r in first.items()}
    (tmp_path / "out" / "quick" / "digits-ipc1-block1.json").unlink()
    assert table6()["block1"]["rows"] == first["block1"]["rows"]  # from its checkpoints
    assert table6(work=tmp_path / "elsewhere")["block2"]["rows"] == first["block2"]["rows"]
    assert spied[3:] == ["digits-ipc1-block1"]


def test_a_deleted_result_comes_back(table6, tmp_path):
    first = table6()["block2"]
    (tmp_path / "out" / "quick" / "digits-ipc1-block2.json").unlink()
    again = table6(work=tmp_path / "elsewhere")["block2"]
    for key in ("rows", "moved", "losses", "recipe", "data_sha256", "code_sha256"):
        assert json.loads(json.dumps(again[key])) == json.loads(json.dumps(first[key]))


def test_what_older_code_made_is_made_anew(table6, spied, tmp_path):
    table6()
    file = tmp_path / "out" / "quick" / "digits-ipc1-block1.json"
    record = json.loads(file.read_text())
    record["code_of_files"]["attention"] = "what it was before"
    file.write_text(json.dumps(record))
    table6()
    assert spied[3:] == ["digits-ipc1-block1"]


def test_a_result_of_other_options_is_not_replaced(table6, spied, tmp_path):
    table6()
    before = contents(tmp_path / "out")
    with pytest.raises(DataDamError, match=r"holds a run of other options: {'sets': 2}, expected {'sets': 1}. Give"):
        table6(sets=1)
    assert contents(tmp_path / "out") == before
    assert len(spied) == 3


def test_more_sets_go_on_from_fewer(table6, spied, tmp_path):
    few = table6(sets=1)
    ((_, table),) = tables("table6", "quick", tmp_path / "out").items()
    assert table.count("| 1 x 2 |") == 3  # what is there is shown
    more = table6()
    assert len(spied) == 6
    for row, record in more.items():
        assert record["rows"][0]["accuracies"][:1] == few[row]["rows"][0]["accuracies"]
        assert record["rows"][0]["n_sets"] == 2
    (tmp_path / "out" / "quick" / "digits-ipc1-block2.json").write_text(json.dumps(few["block2"]))
    *_, last = compare("table6", "quick", tmp_path / "out")
    assert len(last["gain"].accuracies) == 1  # one pair


def test_a_run_that_another_process_is_busy_with_is_left_to_it(table6, tmp_path):
    (tmp_path / "work").mkdir()
    with FileLock(tmp_path / "work" / "quick-digits-ipc1-block1.lock"):
        assert list(table6()) == ["datadam", "block2"]
    assert list(table6()) == ["datadam", "block1", "block2"]


def test_torchrun_is_refused_with_what_to_do_instead(table6, monkeypatch):
    monkeypatch.setattr(reproduce.distributed, "ranks", lambda: 2)
    with pytest.raises(DataDamError, match="instead of torchrun, start the command once for each GPU"):
        table6()


def test_two_processes_share_an_experiment(table6, spied):
    found = [{}, {}]
    threads = [threading.Thread(target=lambda i=i: found[i].update(table6())) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(spied) == ["digits-ipc1-block1", "digits-ipc1-block2", "digits-ipc1-datadam"]
    assert set(found[0]) | set(found[1]) == {"datadam", "block1", "block2"}


def test_a_data_set_can_be_given_by_path(tiny, threads, tmp_path, monkeypatch):
    monkeypatch.setitem(scales.SCALES, "cpu", replace(SCALES["quick"], sets=1))
    folder = image_folder(tmp_path / "images", n=6, size=(64, 64))
    places = {"out": tmp_path / "out", "work": tmp_path / "work"}
    found = list(reproduce.reproduce("table2", "cpu", data={"imagenette64": str(folder)}, **places))
    assert [each.name for each, _ in found] == [f"imagenette64-ipc1-{row}" for row in ("datadam", "random", "dm")]
    assert {record["rows"][0]["dataset"] for _, record in found} == {"imagenette64"}


def test_the_threads_of_the_scale_are_used(table6):
    torch.set_num_threads(2)
    assert table6()["datadam"]["numerics"]["threads"] == 1


# ---- ours beside theirs


def test_rows_are_compared_set_by_set(table6, tmp_path):
    records = table6()
    first, block1, _ = compare("table6", "quick", tmp_path / "out")
    assert (first["gain"], first["says"]) == (None, "DataDAM")
    pairs = zip(records["block1"]["rows"][0]["accuracies"], records["datadam"]["rows"][0]["accuracies"], strict=True)
    assert block1["gain"].models == [fmean(ours) - fmean(theirs) for ours, theirs in pairs]
    assert block1["report"].accuracies == records["block1"]["rows"][0]["accuracies"]
    assert block1["iterations"] == records["block1"]["recipe"]["iterations"]
    assert block1["moved"] == pytest.approx(fmean(records["block1"]["moved"]))
    assert (block1["published"], block1["stale"], block1["file"]) == (None, [], "quick/digits-ipc1-block1.json")


def test_tables_hold_what_is_there(table6, tmp_path):
    table6()
    ((title, table),) = tables("table6", "quick", tmp_path / "out").items()
    assert title == "digits, 1 per class, scale quick, protocol: fixed"
    lines = table.splitlines()
    assert lines[0] == "|  | ours | 95 % over sets | minus DataDAM | iterations | moved | sets x networks |"
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        f"| {says}" for says in ("DataDAM", "attention of block 1", "attention of block 2")
    ]
    assert all(line.endswith("| 2 x 2 |") for line in lines[2:])
    assert tables("table6", "paper", tmp_path / "out") == {}


def test_pictures_are_kept_of_the_rows_that_show_them(tiny, threads, tmp_path):
    found = list(reproduce.reproduce("figure6", out=tmp_path / "out", work=tmp_path / "work"))
    kept = pictures("figure6", "quick", tmp_path / "out")
    assert list(kept) == [(says, "digits", ipc) for ipc in (1, 10) for says in ("DataDAM", "DM", "ATOM")]
    assert kept["DM", "digits", 10].shape == (100, 1, 8, 8)
    assert kept["DM", "digits", 1].dtype == torch.uint8
    assert len(found) == 6
    assert not list((tmp_path / "out").rglob("*block*"))


def test_one_set_has_no_interval(table6, tmp_path):
    table6(sets=1)
    (table,) = tables("table6", "quick", tmp_path / "out", sets=1).values()
    assert table.count("(one set)") == 5  # three accuracies, two differences


def test_older_code_is_said(table6, tmp_path, monkeypatch):
    table6()
    monkeypatch.setattr(comparison, "stale_files", lambda record: ["attention"])
    (table,) = tables("table6", "quick", tmp_path / "out").values()
    assert table.count("(older code)") == 3


def test_a_table_of_costs(tiny, threads, tmp_path):
    list(reproduce.reproduce("table4", out=tmp_path / "out", work=tmp_path / "work"))
    found = tables("table4", "quick", tmp_path / "out")
    assert [title.split(",")[1] for title in found] == [" 1 per class", " 10 per class"]
    for table in found.values():
        assert "published: MB" in table
        assert table.count("not available") == 6


def test_a_row_says_in_which_precision_its_images_were_computed():
    rows = {each["row"]: each for each in compare("study-code", "cpu")}
    for name in ("datadam", "code-norm", "code-zca"):
        record = results.read(rows[name]["file"].removesuffix(".json"))
        assert rows[name]["precision"] == record["numerics"]["precision"]
    assert rows["random-zca"]["precision"] is None  # real images


def test_published_costs_stand_beside_ours():
    found = {"row": "datadam", "says": "DataDAM", "data": "cifar10", "ipc": 10, "hardware": "a machine"}
    shown = comparison._cost([found | {"cost": {"seconds of a step": 0.25, "peak bytes": None}}])
    assert "| DataDAM | 0.08 | 3561 | 0.250 | not known | a machine |" in shown


def test_a_difference_is_clear_if_its_interval_leaves_out_zero():
    assert clear(Report([[2.0], [2.2], [1.8]]))
    assert not clear(Report([[2.0]]))
    assert describe({"mean": 14.4, "std": None}) == "14.4"


def test_what_was_not_measured_has_no_cost():
    assert cost("table6", "paper") == "not measured yet"
    assert cost("figure7", "quick").endswith(" minutes, memory not known")
    assert cost("table6", "quick").endswith(" GB")


def test_every_recorded_result_belongs_to_an_experiment():
    planned = {each.file(results.FOLDER): each for name, scale in ALL for each in plan(name, scale)}
    for file in (path for scale in SCALES for path in (results.FOLDER / scale).glob("*.json")):
        assert file in planned, f"no experiment has a run {file.stem}"
        assert planned[file].result(results.FOLDER), f"{file.stem} was recorded with other options"
        for row in json.loads(file.read_text(encoding="utf-8"))["rows"]:
            models = [a for accuracies in row["accuracies"] for a in accuracies]
            assert row["mean"] == pytest.approx(fmean(models), abs=1e-3)


# ---- minutes


@pytest.fixture(scope="module")
def performed(tmp_path_factory):
    """Folders that all experiments share, so that no run is performed twice."""
    folder = tmp_path_factory.mktemp("performed")
    return {"out": folder / "out", "work": folder / "work"}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_runs_at_quick_scale(name, performed, threads):
    found = list(reproduce.reproduce(name, sets=2, **performed))
    assert len(found) == len(plan(name))
    assert tables(name, "quick", performed["out"], sets=2)
    (first, record), *_ = found
    assert first.row == "datadam"
    least = 40 if first.run.untrained else 70
    assert min(row["mean"] for row in record["rows"]) > least  # of other rows some are meant to fail


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits-ipc1-random", "digits-ipc1-datadam"])
def test_a_recorded_result_comes_back_within_noise(name, threads, tmp_path):
    planned = next(each for each in plan("table1") if each.name == name)
    before = planned.result(results.FOLDER)["rows"][0]
    *_, (_, record) = (
        (each, record)
        for each, record in reproduce.reproduce("table1", out=_without(name, tmp_path / "out"), work=tmp_path / "work")
        if each.name == name
    )
    again = record["rows"][0]
    assert abs(again["mean"] - before["mean"]) <= before["interval"] + again["interval"]


def _without(name: str, folder: Path) -> Path:
    """A copy of the recorded results of quick scale in which one is missing."""
    (folder / "quick").mkdir(parents=True)
    for file in (results.FOLDER / "quick").glob("*.json"):
        if file.stem != name:
            (folder / "quick" / file.name).write_bytes(file.read_bytes())
    return folder
