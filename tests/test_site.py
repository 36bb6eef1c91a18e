"""The book as a site: its links lead somewhere, its words are spelt, its pages are light, its workflows can run."""

import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urldefrag
from urllib.request import Request, urlopen

import pytest
import yaml
from page_weights import weigh
from regenerate import ROOT
from test_book import listed, soup
from test_colab import PYTHONS
from test_makefile import TARGETS

OWN, SHARED = 1.5e6, 3.5e6          # bytes of a page and its pictures; of styles and scripts, fetched once for all
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

pages = pytest.mark.parametrize("page", [*listed(), "search", "genindex"])
workflows = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


# ---- links


@cache
def anchors(path):
    """What a link to a page can name after `#`."""
    return {tag[key] for key in ("id", "name") for tag in soup(path).find_all(attrs={key: True})}


def addresses(path):
    """Where the links of a page lead."""
    return {tag["href"] for tag in soup(path).find_all("a", href=True)}


def external(address):
    """Whether an address is not a file of the book."""
    return re.match(r"[a-z]+:|//", address) is not None


def leads_nowhere(path, address):
    """Whether a link of a page names a file or an anchor that isn't there."""
    name, anchor = urldefrag(address)
    target = (path.parent / unquote(name.partition("?")[0])).resolve() if name else path
    if not target.is_file():
        return True
    return target.suffix == ".html" and bool(anchor) and unquote(anchor) not in anchors(target)


@pages
def test_links_within_the_book_lead_somewhere(book, page):
    path = book / f"{page}.html"
    inside = [address for address in addresses(path) if not external(address)]
    assert len(inside) > 10
    assert [address for address in inside if leads_nowhere(path, address)] == []


def test_a_link_to_nowhere_is_noticed(book):
    path = book / f"{listed()[0]}.html"
    assert leads_nowhere(path, "no-such-page.html")
    assert leads_nowhere(path, "#no-such-anchor")


def status(address):
    """What a server says of an address; 0 if there is none of that name."""
    request = Request(address, headers={"User-Agent": "Mozilla/5.0 (link check)"})
    try:
        with urlopen(request, timeout=20) as answer:
            return answer.status
    except HTTPError as refused:
        return refused.code
    except (URLError, TimeoutError, ConnectionError):
        return 0


@pytest.mark.slow
def test_links_to_other_hosts_are_alive(book):
    """A server may refuse a program (403), be busy or be down for a while; that a page is gone is its last word."""
    if status("https://arxiv.org") == 0:
        pytest.skip("needs a network that reaches other hosts")
    found = {address for page in listed() for address in addresses(book / f"{page}.html")}
    web = sorted({urldefrag(address)[0] for address in found if address.startswith("http")})
    print("\n".join(web))
    assert [address for address in web if status(address) in (404, 410)] == []


# ---- words


def codespell(*paths):
    """What codespell says of files, with the settings of pyproject.toml."""
    program = Path(sys.executable).with_name("codespell")
    done = subprocess.run([program, *paths], cwd=ROOT, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.stdout


def test_words_are_spelt():
    patterns = ["*.md", "book/*.bib", "book/**/*.md", "datadam_lite/**/*.py"]
    texts = [path for pattern in patterns for path in ROOT.glob(pattern)]
    assert len(texts) > 50
    assert codespell(*texts) == ""


def test_a_slip_is_noticed_and_british_spelling_is_none(tmp_path):
    (tmp_path / "text.md").write_text("The centre of a grey neighbourhood, normalised.\nRecieve the colour.\n")
    assert re.findall(r":(\d+): (\w+)", codespell(tmp_path / "text.md")) == [("2", "Recieve")]


# ---- weight


@pages
def test_page_is_light(book, page):
    own, shared = weigh(book / f"{page}.html")
    assert 5e3 < own < OWN
    assert 1e6 < shared < SHARED


# ---- workflows


@cache
def workflow(path):
    """A workflow, parsed. YAML reads its key `on` as True."""
    return yaml.safe_load(path.read_text())


def steps(path):
    """The steps of all jobs of a workflow."""
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


def commands(path):
    """The commands that a workflow runs, as lists of words."""
    return [shlex.split(line) for step in steps(path) for line in step.get("run", "").splitlines()]


def test_there_are_four_workflows():
    assert [path.stem for path in WORKFLOWS] == ["ci", "colab", "pages", "torch"]


@workflows
def test_workflow_says_when_and_with_which_rights(path):
    assert set(workflow(path)[True]) & {"push", "schedule"}
    assert workflow(path)["permissions"] == {"contents": "read"}
    more = [set(job.get("permissions", {})) for job in workflow(path)["jobs"].values()]
    assert set().union(*more) == ({"pages", "id-token"} if path.stem == "pages" else set())


@workflows
def test_actions_are_official_and_pinned_to_a_major_version(path):
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", action)] == []


@workflows
def test_what_a_workflow_runs_exists(path):
    for words in commands(path):
        if words[0] == "make":
            assert set(words[1:]) <= TARGETS
        for word in words:
            if re.match(r"(\.ci|tests|book|benchmarks)/", word):
                assert (ROOT / word).exists(), word


def test_every_workflow_runs_something():
    assert [path.stem for path in WORKFLOWS if not commands(path)] == []


def lower_bounds():
    """{package: the oldest version that pyproject.toml allows}, Python among them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = (package.partition(">=") for package in project["dependencies"])
    return {name: bound for name, _, bound in bounds} | {"python": project["requires-python"].removeprefix(">=")}


def matrix(name, key):
    """The values of a workflow's matrix."""
    (job,) = workflow(ROOT / ".github" / "workflows" / f"{name}.yml")["jobs"].values()
    return job["strategy"]["matrix"][key]


def test_versions_are_those_of_pyproject_and_of_colab():
    oldest = lower_bounds()
    assert matrix("ci", "python") == [oldest["python"], "3.14"]
    torch = f"torch=={oldest['torch']}.* torchvision=={oldest['torchvision']}.*"
    assert matrix("torch", "packages") == [torch, "torch torchvision"]
    colab = steps(ROOT / ".github" / "workflows" / "colab.yml")
    given = [step["with"]["python-version"] for step in colab if "python-version" in step.get("with", {})]
    assert [f"python{version}" for version in given] == [PYTHONS[0]]


def test_continuous_integration_is_one_script():
    script = (ROOT / ".ci" / "run").read_text()
    assert commands(ROOT / ".github" / "workflows" / "ci.yml") == [[".ci/run"]]
    assert "DATADAM_REQUIRE_BROWSER=1" in script            # without a browser it fails
    assert re.search(r"apt-get .*install.* chromium\b", script)
