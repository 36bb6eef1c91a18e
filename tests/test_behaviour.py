"""behaviour: everything is paired, the intervals are right, and the verdict claims no more than they show."""

import re

import pytest
import torch
from torch.nn import functional as F

import datadam_lite as dd
from datadam_lite.classroom.behaviour import OPTIONS, QUICK, digits, push, yardsticks
from datadam_lite.classroom.measured import REFERENCE, START, YOURS, Behaviour, Trial, difference, shown

pytestmark = pytest.mark.usefixtures("short")

TINY = {"iterations": 3, "real_batch": 4, "width": 8}
T95 = {2: 12.7062, 3: 4.3027}  # quantiles of Student's distribution, n - 1 degrees of freedom, from a table


def mine(maps):
    """Spatial attention, written otherwise."""
    energy = (maps / maps.detach().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)).abs().pow(4).sum(1)
    return F.normalize(energy.flatten(1), dim=1)


def average(maps):
    """A tiny number for each filter, of no particular length."""
    return maps.mean((2, 3)) / 1000


@pytest.fixture(scope="module")
def found(short):
    """Channel attention at two numbers of images per class, two sets each."""
    return dd.behaviour(dd.channel, ipcs=(1, 2), sets=2, **TINY)


# ---- what is compared


def test_the_reference_itself_makes_the_same_images_to_the_bit():
    same = dd.behaviour(dd.spatial, ipcs=(1,), sets=2, **TINY)
    (trial,) = same.trials
    assert trial.loss_scale == 1
    for one, other in zip(trial.sets[YOURS], trial.sets[REFERENCE], strict=True):
        assert torch.equal(one.images, other.images)
    assert trial.reports[YOURS].accuracies == trial.reports[REFERENCE].accuracies
    assert "in every set the same accuracy as spatial" in same.verdict


def test_sets_of_a_seed_share_start_and_test_networks(found):
    for trial in found.trials:
        for seed, (yours, reference) in enumerate(zip(trial.sets[YOURS], trial.sets[REFERENCE], strict=True)):
            assert yours.provenance["seed"] == reference.provenance["seed"] == seed
            assert torch.equal(yours.initial_rows, reference.initial_rows)
            assert torch.equal(trial.sets[START][seed].images, yours.initial(digits()[0]).images)
            assert not torch.equal(yours.images, reference.images)
    first, second = found.trials[0].sets[START]
    assert not torch.equal(first.images, second.images)


def test_networks_and_batches_of_a_seed_do_not_depend_on_the_attention():
    drawn = []
    for attention in ("spatial", average):
        distiller = dd.Distiller(digits()[0], 1, dd.recipe("datadam", attention=attention, **TINY), seed=1)
        batch = distiller.draw(2)
        weights = torch.cat([each.flatten() for each in distiller.network.parameters()])
        drawn.append((batch.real, batch.siamese.uniforms, weights))
    assert all(torch.equal(one, other) for one, other in zip(*drawn, strict=True))


def test_accuracies_are_those_of_evaluate(found, short):
    trial = found.trials[1]
    for label, report in trial.reports.items():
        again = dd.evaluate(trial.sets[label], digits()[1], networks=1, protocol=short)
        assert again.accuracies == report.accuracies


def test_size_and_protocol_are_those_of_the_quick_profile(threads):
    profile = dd.use_profile("quick")
    assert profile.protocol == QUICK.protocol
    assert OPTIONS["width"] == profile.changes["width"]
    assert str(digits()[0]) == str(dd.load(profile.data)[0])


def test_both_push_equally_hard():
    given = TINY | {"image_lr": 1.0}
    scale = dd.behaviour(average, ipcs=(1,), sets=1, **TINY).trials[0].loss_scale
    target = push(dd.recipe("datadam", **given), 1)
    scaled = push(dd.recipe("datadam", attention=average, loss_scale=scale, **given), 1)
    assert scale > 2
    assert scaled == pytest.approx(target, rel=1e-4)


def test_a_loss_scale_is_taken_as_it_is():
    given = {"ipcs": (1,), "sets": 1, **TINY}
    plain, scaled = (dd.behaviour(average, loss_scale=scale, **given).moved[1][YOURS] for scale in (1.0, None))
    assert plain < scaled / 2


def test_steps_are_as_long_at_any_number_of_images(found):
    rates = [trial.sets[YOURS][0].provenance["recipe"]["image_lr"] for trial in found.trials]
    assert rates == [1, 2]


def test_images_moved_as_far_as_it_says(found):
    for trial in found.trials:
        far = [
            (made.images - start.images).square().mean().sqrt().item()
            for made, start in zip(trial.sets[YOURS], trial.sets[START], strict=True)
        ]
        assert found.moved[trial.ipc][YOURS] == pytest.approx(sum(far) / 2, rel=1e-4)


def test_any_callable_will_do():
    class Proxy:
        def __call__(self, maps):
            return dd.channel(maps)

    given = {"ipcs": (1,), "sets": 1, **TINY}
    proxy, function = dd.behaviour(Proxy(), **given), dd.behaviour(dd.channel, **given)
    assert proxy.name == "Proxy"
    assert proxy.reports[1][YOURS].accuracies == function.reports[1][YOURS].accuracies


def test_sets_are_those_that_distill_makes():
    trial = dd.behaviour(mine, ipcs=(1,), sets=1, reference=dd.channel, loss_scale=2.0, **TINY).trials[0]
    for label, fn, scale in ((YOURS, mine, 2.0), (REFERENCE, dd.channel, 1.0)):
        expected = dd.distill(digits()[0], 1, attention=fn, loss_scale=scale, **TINY)
        assert torch.equal(trial.sets[label][0].images, expected.images)


def test_recipe_fields_are_those_of_both():
    trial = dd.behaviour(mine, ipcs=1, sets=1, power=2.0, layers=[1], **TINY).trials[0]
    for label in (YOURS, REFERENCE):
        recipe = trial.sets[label][0].provenance["recipe"]
        assert (recipe["power"], list(recipe["layers"])) == (2.0, [1])
    expected = dd.distill(digits()[0], 1, power=2.0, layers=1, **TINY)
    assert torch.equal(trial.sets[REFERENCE][0].images, expected.images)


def test_what_belongs_to_the_reference_is_computed_once():
    before = yardsticks.cache_info().hits
    for fn in (mine, average):
        dd.behaviour(fn, ipcs=(1,), sets=2, **TINY)
    assert yardsticks.cache_info().hits >= before + 1


def test_threads_are_as_before(threads):
    torch.set_num_threads(2)
    dd.behaviour(mine, ipcs=(1,), sets=1, **TINY)
    assert torch.get_num_threads() == 2


# ---- intervals and verdict


def trial(start, reference, yours):
    """A trial of made-up accuracies."""
    reports = {
        label: dd.Report([[value] for value in values])
        for label, values in {START: start, REFERENCE: reference, YOURS: yours}.items()
    }
    made = dd.SyntheticSet.from_real(digits()[0], torch.arange(1), dd.Preprocess.fit(digits()[0]), moved=0.5)
    return Trial(1, {label: [made] * len(yours) for label in reports}, reports, 1.0)


def test_the_interval_of_a_difference_is_that_of_the_pairs():
    gain = trial([60.0, 70.0, 80.0], [80.0, 81.0, 82.0], [71.0, 80.0, 91.0]).gain(START)
    assert gain.models == [11, 10, 11]
    assert gain.mean == pytest.approx(32 / 3)
    deviation = (((11 - 32 / 3) ** 2 * 2 + (10 - 32 / 3) ** 2) / 2) ** 0.5
    assert gain.interval == pytest.approx(T95[3] * deviation / 3**0.5, rel=1e-4)
    assert gain.interval < dd.Report([[71.0], [80.0], [91.0]]).interval / 10, "pairing takes the common part out"


def test_networks_of_a_set_are_no_repetitions():
    one, other = dd.Report([[80.0, 90.0], [70.0, 72.0]]), dd.Report([[60.0, 61.0], [60.0, 60.0]])
    assert difference(one, other).models == [24.5, 11]


@pytest.mark.parametrize(
    ("yours", "says"),
    [
        ([71.0, 81.0, 90.0], "better than its initial images"),
        ([49.0, 61.0, 70.0], "worse than its initial images"),
        ([70.0, 70.0, 80.0], "no difference to its initial images shown"),
        ([60.0, 70.0, 80.0], "in every set the same accuracy as its initial images"),
    ],
)
def test_the_verdict_claims_what_the_interval_shows(yours, says):
    measured = Behaviour("mine", "spatial", (trial([60.0, 70.0, 80.0], [80.0, 81.0, 82.0], yours),))
    assert says in measured.verdict


def test_one_set_shows_nothing():
    measured = Behaviour("mine", "spatial", (trial([60.0], [80.0], [90.0]),))
    assert "+30.0 points to its initial images, which shows nothing" in measured.verdict
    assert "±" not in str(measured).replace("± is", "")


def test_an_interval_that_touches_zero_shows_nothing():
    gain = dd.Report([[0.0], [2.0]])  # mean 1, interval T95[2]
    assert gain.interval == pytest.approx(T95[2], rel=1e-4)
    assert shown(gain, "it").startswith("no difference to it shown")


# ---- what is refused


def forgetful(maps):
    """Of every image the same vector: the mean over the batch."""
    return dd.spatial(maps) - dd.spatial(maps).mean(0)


def test_a_function_that_breaks_the_contract_is_told_before_anything_is_distilled(monkeypatch):
    monkeypatch.setattr(dd.Distiller, "__init__", lambda *_, **__: pytest.fail("something was distilled"))
    with pytest.raises(dd.DataDamError, match=r"forgetful breaks the contract.*each image on its own.*check_attention"):
        dd.behaviour(forgetful)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_function_is_refused():
    with pytest.raises(dd.DataDamError, match=r"str breaks the contract.*not its name in quotation marks"):
        dd.behaviour("spatial")


@pytest.mark.usefixtures("unchecked")
def test_a_number_of_sets_is_a_whole_number():
    with pytest.raises(dd.DataDamError, match="sets must be a whole number"):
        dd.behaviour(mine, sets=1.5)


@pytest.mark.parametrize("given", [{"sets": 0}, {"ipcs": ()}])
def test_nothing_to_do_is_refused(given):
    with pytest.raises(dd.DataDamError, match="at least one set"):
        dd.behaviour(mine, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"iteration": 3}, "unknown recipe field"),
        ({"reference": "spacial"}, "unknown attention"),
        ({"ipcs": (5000,)}, "5000 images per class"),
    ],
)
def test_a_bad_argument_is_refused(given, message):
    with pytest.raises(dd.DataDamError, match=message):
        dd.behaviour(mine, **{"ipcs": (1,), "sets": 1, **given})


def test_a_loss_that_is_not_finite_is_refused():
    """On the checks' maps all is well; on those of a network, whose numbers are smaller, it is not."""

    def fragile(maps):
        return dd.spatial(maps) / (maps.shape[2] != 8)

    with pytest.raises(dd.DataDamError, match=r"expected a positive number\. Call your function on maps of shape"):
        dd.behaviour(fragile, ipcs=(1,), sets=1, **TINY)


# ---- how it looks


def test_text_and_html_say_the_same(found):
    text, page = str(found), re.sub(r"<[^>]+>", " ", found._repr_html_())
    for word in (*found.verdict.split(), *found.basis.split(), "initial", "reference", "yours", "moved"):
        assert word in text
        assert word in page
    numbers = re.findall(r"\d+\.\d+", text)
    assert len(numbers) > 20
    assert set(numbers) == set(re.findall(r"\d+\.\d+", page))


def test_a_name_is_never_taken_for_html():
    measured = Behaviour("<lambda>", "<b>", (trial([60.0], [80.0], [90.0]),))
    assert "<lambda>" not in measured._repr_html_()
    assert "<b>" not in measured._repr_html_()


@pytest.mark.usefixtures("figures")
def test_the_plot_has_every_set_and_every_interval(found):
    axes = found.plot().axes
    assert len(axes) == 4  # two numbers of images per class, accuracies and differences
    for (left, right), trial in zip((axes[:2], axes[2:]), found.trials, strict=True):
        assert left.get_title() == trial.title
        drawn = [line.get_xdata() for line in left.lines if line.get_linestyle() == "None"]
        assert [list(each) for each in drawn] == [[row[0] for row in r.accuracies] for r in trial.reports.values()]
        spans = [bar.get_segments()[0][:, 0] for container in right.containers for bar in container[2]]
        for (low, high), label in zip(spans, (START, REFERENCE), strict=True):
            gain = trial.gain(label)
            assert (low + high) / 2 == pytest.approx(gain.mean)
            assert (high - low) / 2 == pytest.approx(gain.interval)


def test_other_seeds_are_other_sets_and_networks(found):
    others = dd.behaviour(dd.channel, ipcs=(1,), sets=2, seed=1, **TINY)
    assert "from each of the seeds 1, 2," in str(others)
    again, new = others.trials[0].sets[YOURS]
    assert torch.equal(again.images, found.trials[0].sets[YOURS][1].images)  # a set depends on its seed alone
    assert not torch.equal(new.images, again.images)
    assert others.reports[1][YOURS].accuracies[0] != found.reports[1][YOURS].accuracies[1]  # its network is another
