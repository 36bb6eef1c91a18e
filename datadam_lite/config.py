"""Behind every run stands one object, and the object can be a file: the file repeats the run."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from datadam_lite.data import load
from datadam_lite.distill import distill
from datadam_lite.distributed import first_alone
from datadam_lite.errors import DataDamError, check_type, known
from datadam_lite.recipes import RECIPES, Recipe, recipe
from datadam_lite.settings import Settings
from datadam_lite.synthetic import SyntheticSet


@dataclass(frozen=True)
class Config:
    """All that a run depends on, but the machine.

    data, root, size, resize, mirror: as in `load`; ipc: images per class; recipe: what to match, with every constant;
    seed: of everything random; settings: how to compute.

    Raises: DataDamError naming a value of the wrong type.

    >>> config = Config("digits", ipc=2, recipe=recipe("dm", iterations=2, width=8, real_batch=8))
    >>> Config.from_json(config.to_json()) == config
    True
    """

    data: str
    root: str = "data"
    size: int | None = None
    resize: str | None = None
    mirror: bool | None = None
    ipc: int = 1
    recipe: Recipe = RECIPES["datadam"]
    seed: int = 0
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self):
        for name, kind in ((f.name, f.type) for f in fields(self)):
            if name not in ("recipe", "settings"):
                check_type(name, getattr(self, name), kind)

    def run(self, checkpoint: str | Path | None = None) -> SyntheticSet:
        """Load the data and distil it; checkpoint: as in `distill`.

        Raises: DataDamError as `load` and `distill` do.

        >>> Config("digits", recipe=recipe("dm", iterations=2, width=8, real_batch=8)).run().ipc
        1.0
        """
        with first_alone():
            train, _ = load(self.data, self.root, size=self.size, resize=self.resize, mirror=self.mirror)
        return distill(train, self.ipc, self.recipe, seed=self.seed, checkpoint=checkpoint, settings=self.settings)

    def to_json(self) -> str:
        """Return this configuration as text, every default spelled out; null: decided by images, ipc and machine.

        Raises: DataDamError if the recipe holds a function, which a file can't.

        >>> Config("digits").to_json().splitlines()[:2]
        ['{', ' "data": "digits",']
        """
        if functions := [attention for attention in self.recipe.attention if callable(attention)]:
            raise DataDamError(
                f"a configuration file holds attentions by name; received a function, {functions[0]!r}. "
                "Repeat this run from Python."
            )
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Read a configuration from text; all keys but "data" may be left out.

        The recipe is a name, or an object of a name and the fields that differ from the recipe of that name.

        Raises: DataDamError for text that is not JSON, an unknown key, or a value of the wrong type.

        >>> Config.from_json('{"data": "digits", "recipe": {"name": "dm", "iterations": 50}}').recipe.lam
        1.0
        >>> Config.from_json('{"data": "digits", "sead": 1}')
        Traceback (most recent call last):
        datadam_lite.errors.DataDamError: unknown key of a configuration 'sead'; the known ones are data, root, size, \
resize, mirror, ipc, recipe, seed, settings.
        """
        try:
            given = json.loads(text)
        except ValueError as error:
            raise DataDamError(f'a configuration must be JSON, such as {{"data": "digits"}}; {error}.') from error
        _check_keys(given, cls, "a configuration")
        if "data" not in given:
            raise DataDamError('a configuration needs "data", the name or path of a data set; it has none.')
        read = {"recipe": _recipe, "settings": _settings}
        return cls(**{key: read[key](value) if key in read else value for key, value in given.items()})

    @classmethod
    def load(cls, path: str | Path) -> "Config":
        """Read a configuration file; see `from_json`.

        Raises: DataDamError naming the file, if it can't be read or is not a configuration.

        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "run.json"
        >>> _ = file.write_text(Config("digits", seed=3).to_json())
        >>> Config.load(file).seed
        3
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise DataDamError(f"could not read {path}: {error.strerror or error}; check the path.") from error
        except UnicodeDecodeError as error:
            raise DataDamError(f"{path} is no text; expected a configuration that 'datadam distill' wrote.") from error
        except DataDamError as error:
            raise DataDamError(f"{path}: {error}") from error


def _check_keys(given: object, kind: type, what: str) -> None:
    if not isinstance(given, dict):
        raise DataDamError(f"{what} must be a JSON object, {{…}}; received {json.dumps(given)[:40]}.")
    for key in given:
        known(key, [f.name for f in fields(kind)], f"key of {what}")


def _recipe(given: object) -> Recipe:
    if isinstance(given, str):
        return recipe(given)
    _check_keys(given, Recipe, "a recipe")
    if "name" not in given:
        raise DataDamError(f'a recipe needs a "name": {", ".join(RECIPES)}; the fields beside it change that recipe.')
    name, changes = given["name"], {key: value for key, value in given.items() if key != "name"}
    check_type("name", name, str)
    complete = len(given) == len(fields(Recipe))  # then it may have a name of its own: there is nothing to look up
    return replace(recipe("datadam" if complete else name, **changes), name=name)


def _settings(given: object) -> Settings:
    _check_keys(given, Settings, "settings")
    return Settings(**given)
