"""Make the assignments: from a master, book/assignments/aN-name.md, the notebook that a student gets, and the solution.

A master is a MyST notebook with the answers in it, as a chapter's source is one, and has three marks of its own:

- «name» becomes a value: one that differs from class to class (datadam_lite/classroom/variant.py), or one that all
  assignments have, such as their points.
- A code cell tagged `solution` holds an answer and, as a comment, what the student finds in its place:

      # BEGIN SOLUTION
      return maps.abs().pow(p).sum(1).flatten(1)
      # STUB
      # raise NotImplementedError("write spatial_attention first.")
      # END

- A text cell tagged `solution` says what a good answer contains. The student finds an empty one.

    python book/assignments.py                                     the published ones, into notebooks/assignments/
    python book/assignments.py --class-seed-file FILE --out DIR    those of a class; its seed may also be in the
                                                                   environment, as DATADAM_CLASS_SEED
    python book/assignments.py --out DIR --solutions               and their solutions, into DIR/solutions
    python book/assignments.py --measure                           run the published solutions, and time them
"""

import argparse
import json
import math
import os
import re
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path

import jupytext
import nbformat
import regenerate
from scipy.stats import t as student_t

from datadam_lite.classroom import broken
from datadam_lite.classroom.assignments import ASSIGNMENTS
from datadam_lite.classroom.evidence import one_result
from datadam_lite.classroom.rubric import RUBRIC
from datadam_lite.classroom.variant import PUBLIC, variant
from datadam_lite.cli_classroom import VARIABLE, read_seed
from datadam_lite.errors import DataDamError
from datadam_lite.provenance import hardware

MASTERS, PUBLISHED = regenerate.ROOT / "book" / "assignments", regenerate.NOTEBOOKS / "assignments"
SOLUTION_TAG, STUDENT_TAG = "solution", "write"
BLOCK = re.compile(r"^ *# BEGIN SOLUTION\n(?P<answer>.*?)^ *# STUB\n(?P<stub>.*?)^ *# END(\n|\Z)", re.M | re.S)
EMPTY = "*Your answer:*"


def masters():
    """The names of all assignments, in order: "a0-spatial-attention", …"""
    return sorted(path.stem for path in MASTERS.glob("a[0-9]-*.md"))


def machine_time(name):
    """How long the machine takes for an assignment, where that was measured."""
    seconds = json.loads(regenerate.TIMES.read_text())["assignments"]["seconds"].get(name)
    return f"about {5 * math.ceil(seconds / 5)} seconds" if seconds else "a time that was not measured yet"


def results(tasks):
    """What assignment A5 hands in as RESULTS, measured now: half a minute."""
    rows = {str(value): [one_result(tasks.field, value, seed) for seed in tasks.seeds] for value in tasks.values}
    return "{\n" + "".join(f'    "{value}": {row},\n' for value, row in rows.items()) + "}"


def quantiles():
    """The table of Student's t that A5 needs: t(0.975, n - 1) for n from 2 to 30."""
    entries = [f"{n}: {student_t.ppf(0.975, n - 1):.5f}," for n in range(2, 31)]
    lines = [" ".join(entries[start : start + 5]) for start in range(0, len(entries), 5)]
    return "{\n" + "".join(f"    {line}\n" for line in lines) + "}"


def graded(assignment):
    """The rubric of an assignment as a table."""
    lines = (f"| {line.points} | {line.name} | {('tool', 'teacher')[line.by_hand]} |" for line in RUBRIC[assignment])
    return "\n".join(["| points | for | given by |", "|---|---|---|", *lines])


def values(name, tasks):
    """What the marks of a master stand for; a function where it takes long."""
    assignment = ASSIGNMENTS[name.partition("-")[0]]
    return asdict(assignment) | asdict(tasks) | {
        "points": assignment.points,
        "by_hand": assignment.by_hand,
        "functions": ", ".join(f"`{name}`" for name in assignment.functions + assignment.constants),
        "machine": machine_time(name),
        "graded": graded(assignment.name),
        "rules": (MASTERS / "rules.md").read_text().strip(),
        "first": "spatial" if tasks.spatial_first else "channel",
        "last": "channel" if tasks.spatial_first else "spatial",
        "broken": broken.source("broken_attention", tasks.p_broken, tasks.bugs).strip(),
        "quantiles": quantiles,
        "results": lambda: results(tasks),
    }


def fill(text, meaning):
    """The text with its marks replaced; those in what is put in, too."""
    def value(mark):
        found = meaning[mark[1]]
        return fill(str(found() if callable(found) else found), meaning)

    return re.sub(r"«(\w+)»", value, text)


def uncommented(block):
    """The lines of a stub as code."""
    return re.sub(r"^( *)# ?", r"\1", block["stub"], flags=re.M)


def hand_out(cell, solved):
    """A cell of the master as it is in the solution, or as the student gets it."""
    if SOLUTION_TAG not in regenerate.tags(cell):
        return cell
    if cell.cell_type == "code":
        cell.source = BLOCK.sub(r"\g<answer>" if solved else uncommented, cell.source).rstrip()
    elif not solved:
        cell.source = EMPTY
    cell.metadata["tags"] = [SOLUTION_TAG if solved else STUDENT_TAG]
    return cell


def assemble(name, class_seed, url, branch="main", solved=False):
    """The notebook of an assignment without outputs; only the published one can be opened where it is published."""
    notebook = jupytext.read(MASTERS / f"{name}.md", fmt="md:myst")
    meaning = values(name, variant(class_seed))
    notebook.cells = [regenerate.fill(hand_out(cell, solved), url) for cell in notebook.cells]
    for cell in notebook.cells:
        cell.source = fill(cell.source, meaning)
    published = class_seed == PUBLIC and not solved
    return regenerate.finish(notebook, f"assignments/{name}", url if published else "", branch)


def write(class_seed, folder, solved=False):
    """Write all assignments of a class."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in masters():
        path = folder / f"{name}.ipynb"
        nbformat.write(assemble(name, class_seed, **regenerate.repository(), solved=solved), path)
        print(path)


def measure():
    """Run the published solutions, and write down how long each took, and on what."""
    measured = json.loads(regenerate.TIMES.read_text())
    seconds = measured["assignments"]["seconds"]
    for name in masters():
        notebook = assemble(name, PUBLIC, **regenerate.repository(), solved=True)
        start = time.perf_counter()
        regenerate.execute(notebook)
        seconds[name] = round(time.perf_counter() - start)
        print(f"{name}: {seconds[name]} s", flush=True)
    measured["assignments"] |= {"hardware": hardware("cpu"), "date": date.today().isoformat()}
    regenerate.TIMES.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--class-seed", help="the secret string of a class")
    parser.add_argument("--class-seed-file", type=Path, help="the file that holds it")
    parser.add_argument("--out", type=Path, help="folder for the notebooks of a class")
    parser.add_argument("--solutions", action="store_true", help="write the solutions, too, into OUT/solutions")
    parser.add_argument("--measure", action="store_true", help="run the published solutions and write down the times")
    options = parser.parse_args()
    named = options.class_seed is not None or options.class_seed_file is not None
    if options.out is None and (named or options.solutions):
        parser.error("the notebooks of a class and the solutions are not published: name a folder for them by --out")
    if options.measure:
        measure()
    try:
        given = named or (options.out is not None and VARIABLE in os.environ)
        seed = read_seed(options.class_seed, options.class_seed_file) if given else PUBLIC
        write(seed, options.out or PUBLISHED)
        if options.solutions:
            write(seed, options.out / "solutions", solved=True)
    except DataDamError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
