"""The loop: against loops, by the step, from the middle, and with a student's own attention."""

import random
import shutil
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from oracle import loss as slow_loss
from samples import contents, small, toy

from datadam_lite import (
    DataDamError,
    Distiller,
    Preprocess,
    Settings,
    distill,
    evaluate,
    generator,
    k_center,
    load,
    spatial,
)
from datadam_lite import recipe as recipe_
from datadam_lite.augment import OPERATIONS, draw
from datadam_lite.protocol import Protocol

module = import_module("datadam_lite.distill")  # `datadam_lite.distill` is the function


def distiller_(ipc=2, *, seed=0, settings=None, train=None, **changes):
    return Distiller(train or toy(), ipc, small(**changes), seed=seed, settings=settings)


def in_float64(distiller):
    """Compute everything in float64."""
    fitted = distiller.preprocess
    distiller.preprocess = Preprocess(fitted.mean.double(), fitted.std.double())
    distiller.whitened = None if distiller.whitened is None else distiller.whitened.double()
    distiller.network.double()
    distiller.images = distiller.images.detach().double().requires_grad_()
    return distiller


def saved(chosen, path):
    """The bytes of a saved set."""
    return chosen.save(path).read_bytes()


# ---- the loss of an iteration


def slow_augment(images, drawn):
    """Every image by its class's operation, one at a time."""
    n, out = len(images) // len(drawn.operation), []
    for i, image in enumerate(images):
        name, u = drawn.strategy[drawn.operation[i // n]], drawn.uniforms[i // n].double()
        out.append(OPERATIONS[name](image[None], u[None]))
    return torch.cat(out)


@pytest.mark.parametrize("method", ["dm", "atom"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("zca", [False, True])
def test_the_loss_is_the_papers_equations(method, norm, zca):
    distiller = in_float64(distiller_(method=method, norm=norm, zca=zca, seed=3))
    found = distiller.loss(7)
    rows = distiller.train.sample(4, generator(3, "real batch", 7))
    drawn = draw(distiller.operations, 3, generator(3, "augmentation", 7), one_operation=False)
    real, synthetic = (slow_augment(x, drawn) for x in (distiller.real(rows), distiller.images))
    expected = slow_loss(distiller.recipe, dict(distiller.network.named_parameters()), real, synthetic, 3)
    assert set(found) == set(expected)
    for name, term in found.items():
        torch.testing.assert_close(term, expected[name], rtol=1e-6, atol=0)


def test_the_loss_is_zero_when_the_synthetic_images_are_the_real_batch():
    distiller = distiller_(ipc=4)
    rows = distiller.train.sample(4, generator(0, "real batch", 1))
    with torch.no_grad():
        distiller.images.copy_(distiller.real(rows))
    for term in distiller.loss(1).values():
        torch.testing.assert_close(term.detach(), torch.tensor(0.0), rtol=0, atol=1e-9)


def test_real_and_synthetic_images_share_one_draw_with_a_row_for_each_class(monkeypatch):
    drawn, augment = [], module.augment
    monkeypatch.setattr(module, "augment", lambda x, d: drawn.append(d) or augment(x, d))
    distiller_().loss(1)
    assert len(drawn) == 2
    assert drawn[0] is drawn[1]
    assert len(drawn[0].operation) == 3


def test_images_that_may_not_be_mirrored_are_never_flipped():
    assert "flip" in distiller_().operations
    assert "flip" not in distiller_(train=toy(mirror=False)).operations


def test_without_augmentation_nothing_is_augmented(monkeypatch):
    monkeypatch.setattr(module, "augment", lambda *_: pytest.fail("augmented"))
    distiller_(augmentation="").loss(1)


@pytest.mark.parametrize(("size", "whitened"), [(32, True), (8, False)])
def test_a_set_says_whether_it_was_whitened(monkeypatch, size, whitened):
    asked, fit = [], Preprocess.fit  # and not fitted: on 3072 numbers an image it takes long
    monkeypatch.setattr(Preprocess, "fit", lambda train, *, zca, **_: asked.append(zca) or fit(train))
    chosen = distill(toy(4, shape=(3, size, size)), 1, small(iterations=1))
    assert asked == [whitened]
    assert chosen.provenance["recipe"]["zca"] is whitened


def test_iterations_and_seeds_differ_in_network_batch_and_augmentation(monkeypatch):
    drawn, rows, networks = [], [], []
    augment, real = module.augment, Distiller.real
    monkeypatch.setattr(module, "augment", lambda x, d: drawn.append(d.uniforms) or augment(x, d))
    monkeypatch.setattr(Distiller, "real", lambda self, r: rows.append(r) or real(self, r))
    for distiller in (distiller_(), distiller_(seed=1)):
        for iteration in (1, 2):
            distiller.loss(iteration)
            networks.append(distiller.network.head.weight.clone())
    batches = [r for r in rows if len(r) == 3 * 4]
    for four in (networks, drawn[::2], batches):
        assert len(four) == len({tuple(x.flatten().tolist()) for x in four}) == 4


# ---- the synthetic images that take part


def rows_of(distiller, iteration):
    """Which of the distiller's images a synthetic batch consists of."""
    return distiller.synthetic_rows(iteration).flatten().tolist()


@pytest.mark.parametrize("size", [None, 4, 7])
def test_by_default_all_images_take_part(size):
    distiller = distiller_(4, synthetic_batch=size)
    assert rows_of(distiller, 1) == list(range(12))


@pytest.mark.parametrize("size", [1, 3])
def test_a_synthetic_batch_holds_different_images_of_every_class(size):
    distiller = distiller_(4, synthetic_batch=size)
    seen = set()
    for iteration in range(1, 30):
        rows = rows_of(distiller, iteration)
        assert len(set(rows)) == 3 * size
        assert distiller.labels[rows].tolist() == [0] * size + [1] * size + [2] * size
        seen |= set(rows)
    assert seen == set(range(12))


def test_a_synthetic_batch_is_another_one_at_every_iteration_and_seed_and_can_be_repeated():
    distiller, again, other = (distiller_(4, synthetic_batch=2, seed=seed) for seed in (0, 0, 1))
    batches = [rows_of(distiller, i) for i in range(1, 9)]
    assert len(set(map(tuple, batches))) > 6
    assert [rows_of(again, i) for i in range(8, 0, -1)] == batches[::-1]
    assert [rows_of(other, i) for i in range(1, 9)] != batches


def test_only_the_images_that_take_part_have_a_gradient():
    distiller = distiller_(4, synthetic_batch=2)
    moved = gradient(distiller, 5).flatten(1).abs().sum(1).nonzero().flatten().tolist()
    assert moved == sorted(rows_of(distiller, 5))


def test_a_class_may_be_matched_by_few_of_its_images_as_if_there_were_no_others():
    """The loss of a batch is that of a set which holds nothing else."""
    many = distiller_(4, synthetic_batch=2)
    few, rows = distiller_(2), rows_of(many, 3)
    with torch.no_grad():
        few.images.copy_(many.images[rows])
    assert few.loss(3) == many.loss(3)


# ---- where the images start


def test_the_initial_images_are_real_ones_of_their_class():
    train = toy()
    for init in ("random", "k_center"):
        distiller = distiller_(train=train, init=init)
        assert train.labels[distiller.initial_rows].tolist() == [0, 0, 1, 1, 2, 2]
        assert torch.equal(distiller.images.detach(), distiller.preprocess.apply(train.images[distiller.initial_rows]))


def test_noise_has_labels_too_but_no_rows():
    distiller = distiller_(init="noise")
    assert distiller.initial_rows is None
    assert distiller.synthetic().labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert distiller.images.detach().std() == pytest.approx(1, abs=0.2)


def test_a_run_may_start_where_another_ended(tmp_path):
    first = distill(toy(), 2, small(zca=True))
    path = str(first.save(tmp_path / "first.safetensors"))
    assert torch.equal(distiller_(init=path, zca=True).images.detach(), first.images)
    elsewhere = distiller_(init=path, zca=False)
    again = elsewhere.preprocess.invert(elsewhere.images.detach())
    torch.testing.assert_close(again, first.preprocess.invert(first.images), rtol=0, atol=1e-4)


def test_moved_is_the_distance_from_the_start_whatever_it_was():
    for options in ({}, {"init": "noise"}, {"zca": True, "zca_refit": True}):
        distiller = distiller_(**options)
        start = distiller.images.detach().clone()
        assert distiller.synthetic().provenance["moved"] == 0
        next(distiller)
        moved = (distiller.images.detach() - start).square().mean().sqrt()
        assert distiller.synthetic().provenance["moved"] == pytest.approx(float(moved), rel=1e-5)


# ---- the steps


def test_it_is_an_iterator():
    distiller = distiller_(iterations=3)
    assert iter(distiller) is distiller
    assert next(distiller).iteration == 1
    assert [step.iteration for step in distiller] == [2, 3]
    with pytest.raises(StopIteration):
        next(distiller)
    assert distiller.iteration == 3


def test_a_step_reports_the_sum_of_its_terms():
    step = next(distiller_())
    assert set(step.terms) == {"spatial", "embedding"}
    assert step.loss == pytest.approx(sum(step.terms.values()))


def test_any_iteration_can_be_replayed():
    steps, images = distiller_(iterations=4), []
    losses = []
    for _ in range(4):
        images.append(steps.images.detach().clone())
        losses.append(next(steps).terms)
    other = distiller_(iterations=4)
    for i in (3, 1, 4, 2):
        with torch.no_grad():
            other.images.copy_(images[i - 1])
        assert {name: term.item() for name, term in other.loss(i).items()} == losses[i - 1]


def gradient(distiller, iteration):
    return torch.autograd.grad(sum(distiller.loss(iteration).values()), distiller.images)[0]


def test_two_steps_are_sgd_with_momentum():
    """v1 = g1, x1 = x0 - lr v1; v2 = m v1 + g2, x2 = x1 - lr v2."""
    rate, momentum = 3.0, 0.25
    distiller = distiller_(image_lr=rate, image_momentum=momentum)
    start = distiller.images.detach().clone()
    first = gradient(distiller, 1)
    next(distiller)
    torch.testing.assert_close(distiller.images.detach(), start - rate * first)
    middle, second = distiller.images.detach().clone(), gradient(distiller, 2)
    next(distiller)
    torch.testing.assert_close(distiller.images.detach(), middle - rate * (momentum * first + second))


def test_matching_brings_the_loss_down(digits):
    chosen = distill(digits[0], 1, width=8, real_batch=16, iterations=60, zca=False)
    assert chosen.losses[-20:].sum(1).mean() < 0.8 * chosen.losses[:20].sum(1).mean()


@pytest.mark.parametrize(
    ("ipc", "changes", "message"),
    [
        (9, {}, r"9 images per class were asked of toy, but class 'class \d' has 8; ask for at most 8"),
        (0, {}, r"at least 1 image per class; received 0"),
        (1, {"real_batch": 9}, r"real_batch"),
        (1, {"depth": 1}, r"depth"),
    ],
)
def test_what_cannot_be_distilled(ipc, changes, message):
    with pytest.raises(DataDamError, match=message):
        distiller_(ipc, **changes)


@pytest.mark.parametrize("options", [{"ipc": 1}, {"ipc": 3, "synthetic_batch": 1}, {"ipc": 2, "real_batch": 1}])
def test_the_unbiased_estimate_needs_two_images_of_either_kind(options):
    with pytest.raises(DataDamError, match="the unbiased estimate needs at least 2 images per class"):
        next(distiller_(unbiased=True, **options))


def test_dm_is_datadam_of_lambda_1_without_attention():
    one, other = distiller_(method="dm"), distiller_(method="datadam", attention=[], lam=1.0)
    assert list(one) == list(other)
    assert torch.equal(one.images, other.images)


@pytest.mark.parametrize(("kernel", "rate"), [("linear", 0.1), ("polynomial", 1.0), ("gaussian", 0.1)])
@pytest.mark.parametrize("unbiased", [False, True])
def test_a_small_step_goes_down_whatever_the_kernel(kernel, rate, unbiased):
    distiller = distiller_(method="dm", kernel=kernel, unbiased=unbiased, image_lr=rate)
    step = next(distiller)
    assert step.loss - distiller.loss(1)["embedding"].item() > 1e-3 * abs(step.loss)


def test_one_block_is_enough_for_the_embedding_alone():
    assert next(distiller_(method="dm", depth=1)).loss > 0


# ---- random numbers


def states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


def test_nothing_touches_the_global_random_states(unchecked):
    before = states()
    train, test = load("digits")
    chosen = distill(train, 1, width=4, real_batch=4, iterations=2, init="k_center")
    evaluate(chosen, test, networks=1, protocol=Protocol(epochs=1, width=4))
    k_center(train, 1, width=4)
    assert states() == before


def test_the_seed_decides_and_nothing_else_does(tmp_path):
    train = toy()
    runs = []
    for i, seed in enumerate((0, 0, 1)):
        torch.manual_seed(i)
        np.random.seed(i)
        runs.append(saved(distill(train, 2, small(), seed=seed), tmp_path / str(i)))
    assert runs[0] == runs[1] != runs[2]


# ---- checkpoints


@hypothesis_settings(deadline=None, max_examples=6)
@given(st.integers(0, 5), st.sampled_from([0.0, 0.5]), st.booleans())
def test_going_on_from_a_checkpoint_is_the_uninterrupted_run(tmp_path_factory, k, momentum, zca):
    folder = tmp_path_factory.mktemp("resumed")
    options = {"iterations": 5, "image_momentum": momentum, "zca": zca}
    whole, first, second = (distiller_(**options) for _ in range(3))
    list(whole)
    for _ in range(k):
        next(first)
    first.save_checkpoint(folder / "checkpoint")
    second.load_checkpoint(folder / "checkpoint")
    assert [step.iteration for step in second] == list(range(k + 1, 6))
    assert saved(second.synthetic(), folder / "a") == saved(whole.synthetic(), folder / "b")


def test_a_checkpoint_can_be_loaded_into_a_run_that_is_ahead(tmp_path):
    """Going back to the start forgets the momentum, too."""
    ahead, fresh = distiller_(), distiller_()
    ahead.save_checkpoint(tmp_path / "start")
    next(ahead)
    ahead.load_checkpoint(tmp_path / "start")
    assert list(ahead) == list(fresh)
    assert torch.equal(ahead.images, fresh.images)


class Stopped(Exception):
    """Somebody pulled the plug."""


@contextmanager
def stopping_at(monkeypatch, iteration, reason=Stopped):
    """Every Distiller stops before this iteration."""
    with monkeypatch.context() as patch:
        draw = Distiller.draw

        def stop(self, i):
            if i == iteration:
                raise reason
            return draw(self, i)

        patch.setattr(Distiller, "draw", stop)
        yield


def test_distill_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    train, settings = toy(), Settings(checkpoint_every=2)
    with stopping_at(monkeypatch, 6), pytest.raises(Stopped):
        distill(train, 1, small(iterations=7), checkpoint=tmp_path / "c", settings=settings)
    with stopping_at(monkeypatch, 4):  # it is past that
        resumed = distill(train, 1, small(iterations=7), checkpoint=tmp_path / "c", settings=settings)
    whole = distill(train, 1, small(iterations=7))
    assert torch.equal(resumed.images, whole.images)
    assert torch.equal(resumed.losses, whole.losses)


def test_distill_goes_on_from_the_checkpoint_before_if_the_last_one_is_lost(tmp_path, monkeypatch):
    train, settings = toy(), Settings(checkpoint_every=1)
    with stopping_at(monkeypatch, 5), pytest.raises(Stopped):
        distill(train, 1, small(iterations=5), checkpoint=tmp_path / "c", settings=settings)
    (tmp_path / "c").unlink()
    with stopping_at(monkeypatch, 3), pytest.warns(UserWarning, match="at iteration 3"):  # it is past that
        resumed = distill(train, 1, small(iterations=5), checkpoint=tmp_path / "c", settings=settings)
    assert torch.equal(resumed.images, distill(train, 1, small(iterations=5)).images)


@pytest.mark.parametrize("after_the_step", [False, True])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch, after_the_step):
    """Whether Ctrl-C came before the images moved or after."""
    train, step = toy(), torch.optim.SGD.step
    calls = iter(range(10))

    def interrupted(self):
        if next(calls) < 2:
            return step(self)
        if after_the_step:
            step(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            distill(train, 1, small(iterations=4), checkpoint=tmp_path / "c", settings=Settings(checkpoint_every=1))
    resumed = distill(train, 1, small(iterations=4), checkpoint=tmp_path / "c")
    assert torch.equal(resumed.images, distill(train, 1, small(iterations=4)).images)


def stored(path, chosen):
    """A run of this recipe, as a checkpoint has it."""
    distiller = Distiller(toy(), 1, chosen)
    distiller.load_checkpoint(path)
    return distiller


def test_an_interrupted_run_keeps_its_last_iteration(tmp_path, monkeypatch):
    with stopping_at(monkeypatch, 4, KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        distill(toy(), 1, small(iterations=5), checkpoint=tmp_path / "c")
    assert stored(tmp_path / "c", small(iterations=5)).iteration == 3


def test_a_finished_checkpoint_is_a_finished_run(tmp_path, monkeypatch):
    train, settings = toy(), Settings(checkpoint_every=1)
    first = distill(train, 1, small(), checkpoint=tmp_path / "c", settings=settings)
    monkeypatch.setattr(Distiller, "loss", lambda *_: pytest.fail("ran again"))
    assert torch.equal(distill(train, 1, small(), checkpoint=tmp_path / "c", settings=settings).images, first.images)


OTHERS = {
    "recipe.lam is 0.01 there and 0.02 here": lambda: distiller_(lam=0.02),
    "recipe.attention is ['spatial'] there and []": lambda: distiller_(attention=[]),
    "recipe.zca is False there and True here": lambda: distiller_(zca=True),
    "recipe.iterations is 3 there and 4 here": lambda: distiller_(iterations=4),
    "ipc is 2 there and 1 here": lambda: distiller_(ipc=1),
    "seed is 0 there and 1 here": lambda: distiller_(seed=1),
    "data.sha256 is": lambda: distiller_(train=toy(seed=5)),
    "numerics.precision is float32 there and bfloat16": lambda: distiller_(settings=Settings(precision="bfloat16")),
    "numerics.compile is False there and True here": lambda: distiller_(settings=Settings(compile=True)),
}


@pytest.fixture
def checkpoint(tmp_path):
    """The checkpoint of a run after one step, alone in a folder."""
    distiller = distiller_()
    next(distiller)
    distiller.save_checkpoint(tmp_path / "own" / "run.checkpoint")
    return tmp_path / "own" / "run.checkpoint"


def assert_refused(distiller, checkpoint, message):
    """The checkpoint is refused and neither the file nor the run is changed."""
    before, images = contents(checkpoint.parent), distiller.images.detach().clone()
    with pytest.raises(DataDamError, match=r"belongs to another run: .*Use another output name") as caught:
        distiller.load_checkpoint(checkpoint)
    assert message in str(caught.value)
    assert contents(checkpoint.parent) == before
    assert torch.equal(distiller.images, images)
    assert distiller.iteration == 0


@pytest.mark.parametrize("message", OTHERS)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(checkpoint, message):
    assert_refused(OTHERS[message](), checkpoint, message)


def test_a_checkpoint_of_another_number_of_threads_is_refused(checkpoint, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    assert_refused(distiller_(), checkpoint, f"numerics.threads is {threads} there and {threads + 1} here")


def test_a_checkpoint_of_another_version_is_refused(checkpoint, monkeypatch):
    monkeypatch.setattr("datadam_lite.settings.versions", lambda: {"torch": "0.1"})
    assert_refused(distiller_(), checkpoint, "numerics.versions.torch is")


def test_all_that_differs_is_named(checkpoint):
    assert_refused(distiller_(seed=1, lam=0.5), checkpoint, "recipe.lam is 0.01 there and 0.5 here; seed is 0 there")


# ---- a student's own attention


def same_as_spatial(maps):
    return spatial(maps)


def test_a_function_takes_the_place_of_the_name():
    train = toy()
    named = distill(train, 1, small())
    for own in (same_as_spatial, lambda maps: spatial(maps, 4.0), [spatial]):
        assert torch.equal(distill(train, 1, small(), attention=own).images, named.images)


def test_a_list_of_functions_is_the_sum_of_their_terms():
    functions = [lambda maps: maps.mean((2, 3)), lambda maps: maps.mean(1).flatten(1)]
    both = distiller_(attention=functions).loss(1)
    alone = [distiller_(attention=function).loss(1) for function in functions]
    total = sum(sum(part.values()) for part in alone) - alone[0]["embedding"]
    torch.testing.assert_close(sum(both.values()), total)


def test_a_distilled_set_knows_the_students_function():
    chosen = distill(toy(), 1, small(), attention=same_as_spatial)
    assert chosen.provenance["terms"] == ["same_as_spatial", "embedding"]
    assert chosen.provenance["recipe"]["attention"][0].startswith("same_as_spatial (source sha256 ")


def test_a_function_of_the_wrong_shape_stops_before_anything_is_written(tmp_path):
    with pytest.raises(DataDamError, match=r"must return one vector per image, .*Did you forget flatten"):
        distill(toy(), 1, small(), attention=lambda maps: maps.mean(1), checkpoint=tmp_path / "c")
    assert contents(tmp_path) == {}


# ---- a loss that is not finite


def not_finite_from(iteration):
    """An attention that is NaN from this iteration on."""
    calls = iter(range(10**6))
    layers, sides = 2, 2
    return lambda maps: maps.flatten(1) * (float("nan") if next(calls) >= (iteration - 1) * layers * sides else 1)


def test_a_loss_that_is_not_finite_stops_at_once():
    distiller = distiller_(attention=not_finite_from(3), iterations=5)
    next(distiller)
    next(distiller)
    images = distiller.images.detach().clone()
    with pytest.raises(DataDamError, match=r"loss is nan at iteration 3 \(expected .*smaller image_lr"):
        next(distiller)
    assert distiller.iteration == 2
    assert torch.equal(distiller.images, images)


def test_the_last_good_checkpoint_is_kept(tmp_path):
    chosen, settings = small(iterations=5, attention=not_finite_from(3)), Settings(checkpoint_every=1)
    with pytest.raises(DataDamError, match="at iteration 3"):
        distill(toy(), 1, chosen, checkpoint=tmp_path / "c", settings=settings)
    kept = stored(tmp_path / "c", chosen)
    assert kept.iteration == 2
    assert kept.images.isfinite().all()


@pytest.mark.parametrize("iterations", [1, 4])
def test_images_that_are_not_finite_reach_neither_checkpoint_nor_result(tmp_path, iterations):
    """A finite loss can have a gradient, or a learning rate, that throws the images out of range."""
    chosen = small(iterations=iterations, image_lr=1e38, loss_scale=1e6, lam=1.0)
    with pytest.raises(DataDamError, match="expected a finite number"):
        distill(toy(), 1, chosen, checkpoint=tmp_path / "c", settings=Settings(checkpoint_every=1))
    if (tmp_path / "c").exists():
        assert stored(tmp_path / "c", chosen).images.isfinite().all()


# ---- settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float8"}, r"unknown precision 'float8'; the known ones are float32, bfloat16"),
        ({"checkpoint_every": 0}, r"checkpoint_every must be positive; received 0"),
        ({"device": "gpu"}, r"device 'gpu'"),
    ],
)
def test_settings_that_do_not_exist(options, message):
    with pytest.raises(DataDamError, match=message):
        Settings(**options).torch_device()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none():
    with pytest.raises(DataDamError, match="cuda"):
        distiller_(settings=Settings(device="cuda"))


def compiling(test):
    """Mark a test that compiles: it is slow, and PyTorch's compiler warns about itself."""
    missing = not any(map(shutil.which, ("g++", "clang++")))
    for mark in (
        pytest.mark.slow,
        pytest.mark.skipif(missing, reason="needs a C++ compiler"),
        pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),
        pytest.mark.usefixtures("unchecked"),
    ):
        test = mark(test)
    return test


def cosine(a, b):
    return torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), 0)


def test_bfloat16_gives_nearly_the_same_gradient(digits):
    options = {"train": digits[0], "width": 8, "real_batch": 16}
    exact = gradient(distiller_(**options), 1)
    rough = gradient(distiller_(settings=Settings(precision="bfloat16"), **options), 1)
    assert not torch.equal(exact, rough)
    assert cosine(exact, rough) >= 0.99


@compiling
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_compiled_is_the_same_as_eager(digits, norm):
    options = {"train": digits[0], "width": 8, "real_batch": 16, "norm": norm}
    eager, compiled = distiller_(**options), distiller_(settings=Settings(compile=True), **options)
    for i in (1, 2):
        for name, term in eager.loss(i).items():
            torch.testing.assert_close(compiled.loss(i)[name], term, rtol=1e-4, atol=0)
    assert cosine(gradient(eager, 1), gradient(compiled, 1)) > 0.9999
    next(eager), next(compiled)
    torch.testing.assert_close(compiled.images, eager.images, rtol=1e-3, atol=1e-4)


@compiling
def test_compiled_in_bfloat16_gives_nearly_the_same_gradient(digits):
    options = {"train": digits[0], "width": 8, "real_batch": 16}
    rough = distiller_(settings=Settings(precision="bfloat16", compile=True), **options)
    assert cosine(gradient(distiller_(**options), 1), gradient(rough, 1)) >= 0.99


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu():
    """For one network, batch and augmentation, which are drawn on the CPU here."""
    on_cpu, on_gpu = distiller_(settings=Settings(device="cpu")), distiller_(settings=Settings(device="cuda"))
    on_gpu.loss(1)
    on_gpu.network.load_state_dict(on_cpu.network.state_dict())
    rows = on_cpu.train.sample(4, generator(0, "real batch", 1))
    torch.testing.assert_close(on_gpu.real(rows).cpu(), on_cpu.real(rows), rtol=1e-4, atol=1e-4)
    for a, b in zip(on_cpu.network(on_cpu.real(rows)).maps, on_gpu.network(on_gpu.real(rows)).maps, strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=1e-2, atol=1e-2)


def test_recipe_names_and_recipes_are_both_accepted():
    changes = {"width": 4, "real_batch": 4, "iterations": 1}
    by_name = distill(toy(), 1, "dm", **changes)
    by_recipe = distill(toy(), 1, recipe_("dm", **changes))
    assert torch.equal(by_name.images, by_recipe.images)
    with pytest.raises(DataDamError, match="unknown recipe 'atoms'"):
        distill(toy(), 1, "atoms")


def test_whitened_twice_is_no_real_start():
    distilled = distill(toy(), 1, small(zca=True, zca_refit=True, iterations=1))
    assert distilled.initial_rows is None
    with pytest.raises(DataDamError, match="did not start from real images, or not from unchanged ones"):
        distilled.initial(toy())


def test_another_start_in_the_same_file_is_another_run(tmp_path):
    file, checkpoint = tmp_path / "start.safetensors", tmp_path / "c"
    chosen = small(init=str(file), iterations=3)
    distill(toy(), 1, small(iterations=1)).save(file)
    run = Distiller(toy(), 1, chosen)
    next(run)
    run.save_checkpoint(checkpoint)
    distill(toy(), 1, small(iterations=2)).save(file)
    with pytest.raises(DataDamError, match="init_sha256 is"):
        Distiller(toy(), 1, chosen).load_checkpoint(checkpoint)


def test_images_that_may_not_be_mirrored_are_another_run(tmp_path):
    run = Distiller(toy(), 1, small())
    run.save_checkpoint(tmp_path / "c")
    with pytest.raises(DataDamError, match=r"data\.mirror is True there and False here"):
        Distiller(replace(toy(), mirror=False), 1, small()).load_checkpoint(tmp_path / "c")


@pytest.mark.parametrize(("field", "value"), [("ipc", 1.5), ("ipc", True), ("seed", "0"), ("seed", None)])
def test_whole_numbers_that_are_none(unchecked, field, value):
    with pytest.raises(DataDamError, match=f"{field} must be a whole number; received"):
        Distiller(toy(), **{"ipc": 1, "recipe": small(), field: value})


def test_a_device_that_is_no_device():
    with pytest.raises(DataDamError, match=r"unknown device 'cpu:a'; expected cpu, cuda, or cuda:0"):
        Settings(device="cpu:a").torch_device()


@pytest.mark.parametrize("network", ["alexnet", "vgg11", "resnet18"])
def test_any_convolutional_network_distils(network):
    """All terms reach the pixels of every image through its maps."""
    chosen = recipe_("atom", network=network, norm="instance", real_batch=2, iterations=1, zca=False)
    run = Distiller(toy(4, classes=2, shape=(3, 32, 32)), 1, chosen)
    for name, term in run.loss(1).items():
        (gradient,) = torch.autograd.grad(term, run.images, retain_graph=True)
        assert gradient.isfinite().all(), name
        assert gradient.flatten(1).abs().amax(1).gt(0).all(), name


def test_a_transformer_distils_by_its_embedding_alone():
    train, options = toy(4, classes=2, shape=(3, 32, 32)), {"network": "vit", "real_batch": 2, "iterations": 1}
    assert next(Distiller(train, 1, recipe_("dm", zca=False, **options))).terms["embedding"] > 0
    with pytest.raises(DataDamError, match=r"a transformer has none: match its embedding \(recipe dm\)"):
        next(Distiller(train, 1, recipe_("datadam", zca=False, **options)))
