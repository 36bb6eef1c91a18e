"""The demo: DataDAM against honest baselines, on real data, in about a minute."""

from pathlib import Path

from datadam_lite.coresets import select
from datadam_lite.data import ImageSet, load
from datadam_lite.distill import distill
from datadam_lite.evaluate import evaluate
from datadam_lite.files import replacing
from datadam_lite.plots import show_images, style
from datadam_lite.preprocess import Preprocess
from datadam_lite.profiles import use_profile
from datadam_lite.report import Report, rests_on
from datadam_lite.synthetic import SyntheticSet


def demo(folder: Path, *, ipc: int = 1, sets: int = 3, networks: int = 2, say=print) -> str:
    """Distil the digits, compare with random and k-center images, and return the table.

    Writes distilled.png, distilled.safetensors and table.txt into `folder`. `say` gets a line for
    each thing done.
    """
    quick = use_profile("quick")
    train, test = load(quick.data)
    say(f"1/4  {train!r}; {len(test)} more to test on")
    say(f"2/4  choosing {ipc} real image(s) per class, {sets} times: at random, and by k-center")
    candidates = {
        "random real images": [_coreset("random", train, ipc, seed) for seed in range(sets)],
        "k-center": [_coreset("k_center", train, ipc, seed, width=quick.protocol.width) for seed in range(sets)],
    }
    say(f"3/4  distilling {sets} sets with DataDAM, {quick.changes['iterations']} iterations each")
    distilled = [distill(train, ipc, "datadam", seed=seed, **quick.changes) for seed in range(sets)]
    candidates["DataDAM"] = distilled
    say(f"4/4  training {networks} new networks on each of the {3 * sets} sets, testing on real images")
    reports = {
        name: evaluate(chosen, test, networks=networks, protocol=quick.protocol)
        for name, chosen in candidates.items()
    }
    text = table(reports, ipc, rests_on(sets, networks))
    _save(folder, distilled[0], train, text)
    return text


def table(reports: dict[str, Report], ipc: int, models: str) -> str:
    """Return the accuracies as a small text table.

    >>> print(table({"random": Report([[60.0, 64.0]])}, 1, rests_on(1, 2)))
    images per class: 1          test accuracy (mean ± std, 1 set x 2 networks)
    random                       62.0 ± 2.8 %
    """
    lines = [f"{f'images per class: {ipc}':<28} test accuracy (mean ± std, {models})"]
    lines += [f"{name:<28} {report.mean:.1f} ± {report.std:.1f} %" for name, report in reports.items()]
    return "\n".join(lines)


def _coreset(name: str, train: ImageSet, ipc: int, seed: int, **options) -> SyntheticSet:
    rows = select(name, train, ipc, seed, **options)
    return SyntheticSet.from_real(train, rows, Preprocess.fit(train), method=name)


def _save(folder: Path, distilled: SyntheticSet, train: ImageSet, text: str) -> None:
    distilled.save(folder / "distilled.safetensors")
    with replacing(folder / "table.txt") as temporary:
        temporary.write_text(text + "\n")
    style()
    figure = show_images(
        {"start: real": distilled.initial(train).pixels(), "DataDAM": distilled.pixels()}, train.classes
    )
    with replacing(folder / "distilled.png") as temporary:
        figure.savefig(temporary, format="png")
