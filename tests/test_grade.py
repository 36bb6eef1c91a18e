"""The marks: what is right gets all points in every class, and each thing that is wrong loses those it should."""

import json
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module

import answers
import pytest
import torch
from submissions import notebook
from torch.nn import functional as F

from datadam_lite import DataDamError, attention
from datadam_lite.classroom import marks_of_evidence, marks_of_ideas
from datadam_lite.classroom.assignments import ASSIGNMENTS
from datadam_lite.classroom.catalogue import MISTAKES
from datadam_lite.classroom.evidence import interval, one_result, paired_interval
from datadam_lite.classroom.grade import grade
from datadam_lite.classroom.gradescope import results
from datadam_lite.classroom.marks import Earned, Grade, marked
from datadam_lite.classroom.marks_of_equations import hidden_maps, hidden_powers, of_an_equation, of_hidden_maps
from datadam_lite.classroom.marks_of_evidence import computed_again, hidden_lists, of_evidence, of_intervals
from datadam_lite.classroom.marks_of_ideas import gains_over_the_start, of_an_idea
from datadam_lite.classroom.marks_of_mixtures import NO_BLOCKS, of_a_mixture
from datadam_lite.classroom.marks_of_tests import of_a_test
from datadam_lite.classroom.mistakes_of_intervals import PAIRED, SINGLE
from datadam_lite.classroom.rubric import RUBRIC, points
from datadam_lite.classroom.variant import RULES, variant

SEED = "the secret string of a class"
TASK = variant(SEED)
CLASSES = [f"class number {i} of many" for i in range(24)]  # with every rule, order and field among them


def made(text: str, *names: str):
    """The functions that a text defines."""
    space = {"torch": torch, "F": F}
    exec(text, space)
    return [space[name] for name in names] if len(names) > 1 else space[names[0]]


def scored(assignment, earned) -> list[float]:
    """The points of each line that the tool gives."""
    return [mark.points for mark in marked(assignment, earned) if not mark.line.by_hand]


def full(assignment) -> list[float]:
    """All points of each line."""
    return [line.points for line in RUBRIC[assignment] if not line.by_hand]


# ---- the rubric


def test_the_rubric_gives_what_the_assignments_promise():
    found = {name: (points(name), points(name, by_hand=True)) for name in RUBRIC}
    assert found == {a.name: (a.points, a.by_hand) for a in ASSIGNMENTS.values()}
    assert found == {"a0": (10, 0), "a1": (10, 0), "a2": (20, 0), "a3": (30, 0), "a4": (20, 10), "a5": (20, 20)}


def test_points_are_halves_and_nothing_is_rounded_up():
    marks = marked("a0", [Earned(0.99), Earned(0.5), Earned(1 / 3)], "It ended.")
    assert [(mark.points, mark.earned.why) for mark in marks] == [(1.5, ""), (1, ""), (1, ""), (0, "It ended.")]


# ---- A0 and A1


@pytest.mark.parametrize("text", answers.RIGHT_SPATIAL.values(), ids=answers.RIGHT_SPATIAL)
def test_right_writings_get_all_points(text):
    found = of_an_equation(made(text, "spatial_attention"), "spatial", 4, SEED)
    assert scored("a0", found) == full("a0")


def test_right_channel_attention_gets_all_points():
    assert scored("a1", of_an_equation(made(answers.CHANNEL, "channel_attention"), "channel", 4, SEED)) == full("a1")


@pytest.mark.parametrize("kind", ["spatial", "channel"])
def test_every_mistake_of_the_catalogue_loses_points_and_most_are_named(kind):
    named, wrong = 0, [mistake for mistake in MISTAKES if kind in mistake.kinds]
    for mistake in wrong:
        def fn(maps, p=4, variant=mistake.variants[0]):
            return variant(maps, p, kind)

        found = list(of_an_equation(fn, kind, 4, SEED))
        assert sum(scored("a0", found)) < 10, mistake.name
        named += mistake.name in [each.cause.name for each in found if each.cause]
    assert named >= 0.9 * len(wrong)


def test_a_power_that_is_written_down_is_not_the_parameter():
    def fn(maps, p=4):
        return attention.spatial(maps, 4.0)

    found = list(of_an_equation(fn, "spatial", 4, SEED))
    assert scored("a0", found)[3] < 1
    assert {each.cause.name for each in found if each.cause} == {"p not used"}


def test_a_function_that_fails_on_some_maps_is_graded_all_the_same(gains):
    def fn(maps, p=4):
        assert (maps == 0).any() or len(maps) != 3
        return attention.spatial(maps, float(p))

    assert scored("a0", of_an_equation(fn, "spatial", 4, SEED))[0] == 2
    assert scored("a4", of_an_idea(fn, TASK))[0] == 2


def test_hidden_maps_are_as_large_as_a_network_s_and_hidden_powers_are_no_whole_numbers_only():
    for seed in CLASSES:
        shapes = [tuple(maps.shape) for maps in hidden_maps(seed)]
        assert max(c for _, c, _, _ in shapes) > 128
        assert max(min(h, w) for _, _, h, w in shapes) > 8
        assert min(b for b, _, _, _ in shapes) == 1
        assert {p % 1 > 0 for p in hidden_powers(seed)} == {True, False}
        assert len(set(hidden_powers(seed))) == 3


@pytest.mark.parametrize(("fn", "kept"), [
    (lambda maps, p=4: attention.spatial(maps[:, :8], float(p)), 12),
    (lambda maps, p=4: attention.spatial(maps, float(int(p))), 10),
])  # fmt: skip
def test_what_is_right_on_some_hidden_inputs_only_loses_points(fn, kept):
    found = of_hidden_maps(fn, attention.spatial, SEED, powers=hidden_powers(SEED))
    assert found.why == f"Right on {kept} of 15."


def test_without_the_parameter_p_the_last_line_says_so():
    found = list(of_an_equation(lambda maps: attention.spatial(maps, 4.0), "spatial", 4, SEED))
    assert found[3] == Earned(0, "It can't be called with p=2: keep the parameter p of the task.")
    assert "Could not be tried: large p." in found[2].why


@pytest.mark.parametrize("kind", ["spatial", "channel"])
def test_a_constant_keeps_no_laws(kind, gains):
    def fn(maps, p=4):
        length = maps[0, 0].numel() if kind == "spatial" else maps.shape[1]
        return 0 * maps.sum((1, 2, 3))[:, None] + torch.ones(len(maps), length).to(maps) / length**0.5

    assert scored("a0", of_an_equation(fn, kind, 4, SEED))[2:] == [0, 0]
    gains += [5.0, 6.0]
    assert scored("a4", of_an_idea(fn, TASK))[2:] == [0, 0, 0]


def test_an_unwritten_function_gets_nothing():
    def fn(maps, p=4):
        raise NotImplementedError("write this")

    found = list(of_an_equation(fn, "spatial", 4, SEED))
    assert scored("a0", found) == [0, 0, 0, 0]
    assert {each.cause.name for each in found if each.cause} == {"not written yet"}


# ---- A2


def mixture_points(seed=SEED, swap=False, **changes):
    fn = made(answers.mixed(variant(seed), swap=swap, **changes), "mixed_attention")
    return scored("a2", of_a_mixture(fn, variant(seed), seed))


def test_the_classes_have_all_kinds_of_mixtures():
    tasks = [variant(seed) for seed in CLASSES]
    assert {(task.rule, task.spatial_first) for task in tasks} == {(r, o) for r in RULES for o in (True, False)}


@pytest.mark.parametrize("seed", CLASSES[:12])
def test_the_mixture_of_each_class_gets_all_points(seed):
    assert mixture_points(seed) == full("a2")


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"spatial_first": not TASK.spatial_first}, [3]),
        ({"p_spatial": 4.0}, [4]),
        ({"p_channel": 4.0}, [5]),
        ({"swap": True}, [4, 5]),
        ({"weight": 0.5}, [6]),
        ({"weight": 1 - TASK.weight}, [6]),
        *(({"rule": rule}, [6]) for rule in RULES if rule != TASK.rule),
    ],
)
def test_what_differs_from_the_class_s_mixture_loses_its_line(changes, lost):
    found = mixture_points(**changes)
    assert [i for i, (got, best) in enumerate(zip(found, full("a2"), strict=True)) if got < best] == [*lost, 7]
    assert [found[i] for i in [*lost, 7]] == [0] * (len(lost) + 1)
    if lost == [6]:
        fn = made(answers.mixed(TASK, **changes), "mixed_attention")
        (cause,) = {each.cause.name for each in of_a_mixture(fn, TASK, SEED) if each.cause}
        assert cause == "other weights than the task's"


def test_a_single_attention_is_no_mixture():
    found = list(of_a_mixture(attention.spatial, TASK, SEED))
    assert scored("a2", found)[3:] == [0] * 5
    assert {each.why for each in found[3:]} == {"Not tried: other checks come first, and failed."}


def test_a_mixture_whose_entries_are_mixed_has_no_blocks():
    def fn(maps):
        vectors = TASK.mixture(maps)
        return vectors[:, torch.randperm(vectors.shape[1], generator=torch.Generator().manual_seed(0))]

    found = list(of_a_mixture(fn, TASK, SEED))
    assert {each.why for each in found[3:7]} == {NO_BLOCKS}


@pytest.mark.parametrize("kind", ["spatial", "channel"])
def test_half_a_mixture_without_a_gradient_loses_points(kind):
    def fn(maps):
        whole, cut, n = TASK.mixture(maps), TASK.mixture(maps.detach()), maps[0, 0].numel()
        first = TASK.spatial_first == (kind == "spatial")  # which of the two is cut
        n = n if TASK.spatial_first else maps.shape[1]
        return torch.cat([cut[:, :n], whole[:, n:]] if first else [whole[:, :n], cut[:, n:]], 1)

    lost = [got < best for got, best in zip(scored("a2", of_a_mixture(fn, TASK, SEED)), full("a2"), strict=True)]
    assert lost == [False, True, *[False] * 6]  # the contract's gradient


def test_two_blocks_of_one_length_together_are_named_though_they_have_weights():
    def fn(maps):
        where = TASK.weight * maps.abs().pow(TASK.p_spatial).sum(1).flatten(1)
        which = (1 - TASK.weight) * maps.abs().pow(TASK.p_channel).sum((2, 3))
        return F.normalize(torch.cat([where, which] if TASK.spatial_first else [which, where], 1), dim=1)

    causes = [each.cause.name for each in of_a_mixture(fn, TASK, SEED) if each.cause]
    assert "both blocks normalised as one" in causes
    assert "other weights than the task's" not in causes


# ---- A3


def tries(text):
    """As Sandbox.tries, in this process."""
    test = made(text, "test_attention")

    def run(name, functions):
        assert name == "test_attention"
        return [outcome(function) for function in functions]

    def outcome(function):
        try:
            test(made(function, "attention"))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    return run


def points_of(text):
    """Points for the test alone: broken function, each bug, other bugs, right ones."""
    return scored("a3", of_a_test(tries(text), None, TASK, SEED))[4:]


@pytest.mark.parametrize("seed", CLASSES[:4])
def test_a_good_test_and_a_mended_function_get_all_points(seed):
    task = variant(seed)
    mended = made(answers.mended(task), "mended_attention")
    assert scored("a3", of_a_test(tries(answers.written_test(task)), mended, task, seed)) == full("a3")


def test_the_broken_function_is_not_mended():
    from datadam_lite.classroom.broken import source

    broken = made(source("broken", TASK.p_broken, TASK.bugs), "broken")
    found = of_a_test(tries(answers.written_test(TASK)), broken, TASK, SEED)
    assert sum(scored("a3", found)[:4]) < 5


def test_a_missing_mended_function_costs_its_lines_only():
    found = scored("a3", of_a_test(tries(answers.written_test(TASK)), None, TASK, SEED))
    assert found == [0, 0, 0, 0, 3, 9, 6, 3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def test_attention(attention): pass", [0, 0, 0, 0]),
        ("def test_attention(attention): assert False", [0, 0, 0, 0]),
        ("def test_attention(attention): raise RuntimeError('no')", [0, 0, 0, 0]),
        (answers.written_test(TASK, "torch.equal(found, right)"), [0, 0, 0, 1.5]),  # asks for the last digit
    ],
    ids=["accepts all", "rejects all", "crashes", "exact"],
)
def test_a_test_that_does_not_tell_right_from_wrong(text, expected):
    assert points_of(text) == expected


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("def test_attention(attention): assert False", "the test rejects what is right"),
        ("def test_attention(attention): raise RuntimeError('no')", "the test does not run to its end"),
        ("def test_attention(attention): np.testing.assert_allclose(1, 1)", "the test does not run to its end"),
    ],
)
def test_a_test_that_crashes_is_not_called_too_strict(text, cause):
    found = list(of_a_test(tries(text), None, TASK, SEED))
    assert found[7].cause.name == cause


def test_a_test_that_is_not_written_yet():
    text = "def test_attention(attention): raise NotImplementedError('write this')"
    found = list(of_a_test(tries(text), None, TASK, SEED))[4:]
    assert [(each.share, each.why, each.cause) for each in found] == [(0, "Not written yet.", None)] * 4


def test_a_test_that_notices_some():
    """It notices what divides by zero, and nothing else."""
    text = "def test_attention(attention): assert attention(torch.zeros(1, 2, 2, 2)).isfinite().all()"
    division = TASK.bugs[2] == 2
    assert points_of(text) == ([3, 3, 0, 3] if division else [0, 0, 1, 0])


def test_only_assertions_count_as_noticing():
    text = answers.written_test(TASK).replace("assert found.shape == right.shape, \"shape\"", "(found - right)")
    strict, crashing = points_of(answers.written_test(TASK)), points_of(text)
    assert sum(crashing) < sum(strict)


# ---- A4


IDEA_SEEDS = {variant(seed).law: seed for seed in CLASSES}


@pytest.fixture
def gains(monkeypatch):
    """Distil nothing: the gains are those that the test says."""
    found = []
    monkeypatch.setattr(marks_of_ideas, "gains_over_the_start", lambda fn: found)
    return found


@pytest.mark.parametrize("law", answers.IDEAS)
def test_an_idea_that_keeps_the_law_gets_all_points(law, gains):
    gains += [5.0, 6.0]
    fn = made(answers.IDEAS[law], "my_attention")
    assert scored("a4", of_an_idea(fn, variant(IDEA_SEEDS[law]))) == full("a4")


def test_a_law_that_is_broken_costs_its_line(gains):
    gains += [5.0, 6.0]
    fn = made(answers.IDEAS["blind to channel order"], "my_attention")
    assert scored("a4", of_an_idea(fn, variant(IDEA_SEEDS["blind to position order"]))) == [2, 3, 0, 4, 6]


@pytest.mark.parametrize(
    ("fn", "own"), [(attention.spatial, 0), (attention.channel, 0), (TASK.mixture, 0),
                    (lambda maps: F.pad(attention.spatial(maps, 4.0), (0, 1)), 0),
                    (lambda maps: -3 * attention.spatial(maps, 2.0).flip(1), 0),
                    (lambda maps: torch.cat([attention.channel(maps, 1.0)] * 2, 1) / 2**0.5, 0),
                    (lambda maps: F.normalize(maps.square().sum(1).flatten(1), dim=1, p=1), 2)],
)  # fmt: skip
def test_known_attentions_are_nobody_s_own(fn, own, gains):
    gains += [5.0, 6.0]
    assert scored("a4", of_an_idea(fn, TASK))[3] == own


@pytest.mark.parametrize(("found", "expected"), [([3.0, 3.0], 6), ([-1, 7.0], 6), ([2.0, 1.0], 3), ([-1.0, 0.5], 0)])
def test_points_for_distilling(found, expected, gains):
    gains += found
    assert scored("a4", of_an_idea(made(answers.IDEAS["length one"], "my_attention"), TASK))[4] == expected


def test_what_breaks_the_contract_is_not_distilled(gains):
    found = list(of_an_idea(lambda maps: maps.detach().mean(1).flatten(1), TASK))
    assert (found[4].share, found[4].why) == (0, "This counts when it keeps the contract.")


def test_attention_distils_and_what_keeps_nothing_of_the_maps_does_not():
    good = gains_over_the_start(attention.spatial)
    bad = gains_over_the_start(lambda maps: maps.mean((1, 2, 3))[:, None])
    assert sum(good) / 2 > marks_of_ideas.MARGIN > sum(bad) / 2


# ---- A5


def call(text):
    """As Sandbox.call, in this process."""
    space = {}
    exec(text, space)
    return lambda name, *values: space[name](*values)


@pytest.fixture
def computed(monkeypatch):
    """Compute nothing: every result is 80 per cent."""
    seen = []
    monkeypatch.setattr(marks_of_evidence, "one_result", lambda *given: seen.append(given) or 80.0)
    return seen


ROWS = {value: [80.0, 81.2, 79.4, 78.0, 82.6] for value in TASK.values}
GOOD = {str(value): row for value, row in ROWS.items()}
FIRST, SECOND = GOOD


def test_good_evidence_gets_all_points(computed):
    assert scored("a5", of_evidence(call(answers.INTERVALS), GOOD, TASK, SEED)) == full("a5")
    assert [given[:2] for given in computed] == [(TASK.field, value) for value in TASK.values]
    assert {given[2] for given in computed} <= set(TASK.seeds)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (None, [0, 0, 0]),
        ([1, 2], [0, 0, 0]),
        ({}, [0, 0, 0]),
        ({FIRST: GOOD[FIRST]}, [0, 0, 0]),
        ({FIRST: GOOD[FIRST], SECOND: [80.0]}, [1, 0, 0]),
        (GOOD | {SECOND: [80.0, 81.2, 79.4, 78.0, 101.0]}, [2, 0, 0]),
        (GOOD | {SECOND: [80.0, 81.2, 79.4, 78.0, "82"]}, [2, 0, 0]),
        (GOOD | {SECOND: [80.0, 81.2, 79.4, 78.0, float("nan")]}, [2, 0, 0]),
        (GOOD | {SECOND: [80.0, 81.1, 79.4, 78.0, 82.6]}, [4, 0, 6]),
        ({value: [80.0] * 5 for value in GOOD}, [4, 0, 6]),
        ({value: [x - 10 for x in row] for value, row in GOOD.items()}, [4, 2, 0]),
        (GOOD | {SECOND: [x - 10 for x in GOOD[SECOND]]}, [4, 2, 3]),
        (GOOD | {"a note": "more than asked"}, [4, 2, 6]),
    ],
)
def test_results_that_are_not_complete_or_not_likely(results, expected, computed):
    assert scored("a5", of_evidence(call(answers.INTERVALS), results, TASK, SEED)) == [4, 4, *expected]


@pytest.mark.parametrize("name", ["interval", "paired_interval"])
def test_mistakes_of_intervals_are_named(name):
    paired = name == "paired_interval"
    right, mistakes = (paired_interval, PAIRED) if paired else (interval, SINGLE)
    lists = [pair if paired else pair[:1] for pair in hidden_lists(SEED)]
    for mistake in mistakes:
        for wrong in mistake.variants:
            found = of_intervals(lambda _, *values, wrong=wrong: wrong(*values), name, right, mistakes, lists)
            assert (found.share, found.cause.name) == (0, mistake.name)


def raises(name, *values):
    raise ValueError(f"the lists are {values}")


@pytest.mark.parametrize("answer", [raises, lambda *_: None, lambda *_: [1], lambda *_: "ab", lambda *_: [True, 2]])
def test_answers_that_are_no_interval(answer):
    found = of_intervals(answer, "interval", interval, SINGLE, [([1.0, 2.0, 4.0],)])
    assert (found.share, found.why, found.cause) == (0, "Right on 0 of 1 lists.", None)


def test_a_result_is_computed_again_to_the_digit(monkeypatch):
    task = replace(TASK, field="power", values=(2.0,), seeds=(3,))
    right = one_result("power", 2.0, 3)
    monkeypatch.setattr(marks_of_evidence, "TOLERANCE", 0)
    assert computed_again({"2.0": [right]}, task, SEED).share == 1


def test_one_result_refuses_what_is_the_same_for_all():
    with pytest.raises(DataDamError, match="width is 32 for all sets of this experiment"):
        one_result("width", 64, 0)


# ---- a submission as a whole: through the sandbox


ENDS = """
calls = [0]

def spatial_attention(maps, p=4):
    calls[0] += 1
    if p == LAST:
        torch.os._exit(3)
    maps = maps.abs() / maps.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    return F.normalize(maps.pow(p).sum(1).flatten(1), dim=1)
"""


def test_a_notebook_gets_its_points(tmp_path):
    path = notebook(tmp_path / "a.ipynb", answers.HEAD, "1 / 0", answers.PLAIN)
    found = grade(path, "a0", SEED)
    assert (found.score, found.message, found.causes) == (10, "", ())
    assert str(found).startswith("**a0: 10 of 10 points**\n")


def test_an_idea_is_distilled_through_the_sandbox(tmp_path, monkeypatch):
    def gains(fn):
        maps = torch.rand(2, 3, 4, 4, requires_grad=True)
        fn(maps)[0, 0].backward()
        return [5.0 * bool(maps.grad.any())] * 2

    monkeypatch.setattr(marks_of_ideas, "gains_over_the_start", gains)
    found = grade(notebook(tmp_path / "a.ipynb", answers.HEAD + answers.IDEAS[TASK.law]), "a4", SEED)
    assert (found.score, found.best, found.by_hand, found.message) == (20, 20, 10, "")


def test_evidence_through_the_sandbox(tmp_path, computed):
    path = notebook(tmp_path / "a.ipynb", answers.INTERVALS, answers.results(TASK, ROWS))
    found = grade(path, "a5", SEED)
    assert (found.score, found.best, found.by_hand, found.message) == (20, 20, 20, "")
    path = notebook(tmp_path / "b.ipynb", "def interval(means): return [0, 1]", "RESULTS = dict(a=[1.0])")
    found = grade(path, "a5", SEED)
    assert found.score == 0
    assert "no function 'paired_interval'" in found.message
    assert "RESULTS must be written as a literal" in found.message


def test_what_was_earned_before_the_sandbox_ended_counts(tmp_path):
    last = next(p for p in hidden_powers(SEED) if p not in (2.0, 2.5, 3.0))  # those that the check tries, too
    path = notebook(tmp_path / "a.ipynb", answers.HEAD + ENDS.replace("LAST", str(last)))
    found = grade(path, "a0", SEED)
    assert [mark.points for mark in found.marks] == [2, 2, 3, 0]
    assert "ended its own process" in found.message
    assert found.marks[3].earned.why == "Not reached."


def test_what_a_function_says_of_hidden_inputs_is_told_nobody(tmp_path):
    text = answers.HEAD + f'''
def mixed_attention(maps):
    tried = ((5, 4, 6), (7, 6, 5), (3, 5, 4), (4, 6, 6), (130, 17, 16))
    if maps.dtype == torch.float32 and tuple(maps.shape[1:]) not in tried:
        raise ValueError("these are the maps: " + str(maps.tolist()) + "they were")
    return _mixed(maps)
{answers.mixed(TASK).replace("mixed_attention", "_mixed")}'''
    found = grade(notebook(tmp_path / "a.ipynb", text), "a2", SEED)
    assert [mark.points for mark in found.marks] == [2, 3, 4, 2, 2, 2, 0, 0]
    assert "they were" not in str(found) + json.dumps(results(found))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["def spatial(maps): return maps"], "has no function 'spatial_attention'"),
        (["def spatial_attention(maps:"], "isn't Python"),
        (["from datadam_lite import spatial as spatial_attention"], "must be a function"),
        ([answers.HEAD + "def spatial_attention(maps, p=1 / 0): return maps"], "can't be run: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_graded_is_said_and_gets_nothing(tmp_path, cells, message):
    found = grade(notebook(tmp_path / "a.ipynb", *cells), "a0", SEED)
    assert found.score == 0
    assert message in found.message


def test_a_file_that_is_no_notebook(tmp_path):
    (tmp_path / "a.ipynb").write_text("{")
    found = grade(tmp_path / "a.ipynb", "a3", SEED)
    assert (found.score, len(found.marks)) == (0, len(RUBRIC["a3"]))
    assert "isn't a notebook" in found.message


def test_one_function_of_two_is_graded(tmp_path):
    found = grade(notebook(tmp_path / "a.ipynb", answers.HEAD + answers.written_test(TASK)), "a3", SEED)
    assert (found.score, [mark.points for mark in found.marks][:4]) == (21, [0, 0, 0, 0])
    assert "no function 'mended_attention'" in found.message


def test_the_class_seed_is_in_no_output(tmp_path):
    found = grade(notebook(tmp_path / "a.ipynb", answers.HEAD + answers.mixed(TASK, weight=0.4)), "a2", SEED)
    assert SEED not in str(found) + json.dumps(results(found))


@pytest.mark.parametrize(
    ("assignment", "seed", "message"), [("a9", SEED, "unknown assignment"), ("a0", "short", "12 characters")]
)
def test_what_the_teacher_has_to_mend_is_an_error(tmp_path, assignment, seed, message):
    with pytest.raises(DataDamError, match=message):
        grade(tmp_path / "a.ipynb", assignment, seed)


def test_a_system_without_sandboxes_is_an_error(tmp_path, monkeypatch):
    class None_(nullcontext):
        def __init__(self, *_, **__):
            raise DataDamError("a sandbox needs Linux or macOS.")

    monkeypatch.setattr(import_module("datadam_lite.classroom.grade"), "Sandbox", None_)
    with pytest.raises(DataDamError, match="a sandbox needs"):
        grade(notebook(tmp_path / "a.ipynb", answers.HEAD + answers.PLAIN), "a0", SEED)


def test_gradescope_has_every_line():
    found = results(Grade("a5", marked("a5", [Earned(1), Earned(0.5, "Half.")]), "It ended.", ("R.",)))
    assert [(line["name"], line["max_score"]) for line in found["tests"]] == [(x.name, x.points) for x in RUBRIC["a5"]]
    assert [line["score"] for line in found["tests"]] == [4, 2, 0, 0, 0, 0]
    assert [line["status"] for line in found["tests"]] == ["passed", *["failed"] * 4, "passed"]
    assert found["tests"][-1]["output"] == "Marked by your teacher."
    assert found["output"] == "It ended.\n\nR."
