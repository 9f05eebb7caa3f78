"""The recipe: one typed, checked description of a run, read from YAML."""

import json
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mien.data.balance import steps as balance_steps
from mien.data.sources.catalog import needs_root
from mien.data.split import SplitSpec
from mien.errors import MienError, UsageError
from mien.files import digest, from_yaml, write_text
from mien.imaging.chain import Chain
from mien.places import recipe_file
from mien.training.spec import Augment, Fit, Model, TripletSpec

WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt")
"""How files of weights end; any other path in `model.weights` is the folder of a run, if it names no bundle."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Dataset(_Part):
    """A source of the catalogue, the folder or file it is read from, and the source's own options."""

    source: str
    root: Path | None = None
    options: dict[str, Any] = {}


class Data(Dataset):
    """Which rows of a dataset: `classes` keeps those of some classes only, `hold_out` leaves the official test part
    out of the run, `limit` is the size of a stratified sample of what is left.
    """

    classes: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    hold_out: bool = False
    limit: Annotated[int, Field(gt=0)] | None = None


class Split(_Part):
    """Which rows train, validate and test; `clean: train` drops training rows that have a twin in the other parts.

    `clean_against` names datasets whose validation and test pictures no training row may have a twin of either; all
    pictures count of one that publishes no such parts, and one without a root is where the data is. `fold: all` makes
    every fold the test part once, in a run of its own.
    """

    method: Literal["official", "stratified", "grouped", "kfold", "grouped-kfold"] = "official"
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    folds: int = 10
    fold: int | Literal["all"] = 0
    group: Literal["subject", "sequence"] = "subject"
    seed: int = 0
    clean: Literal["none", "train"] = "none"
    clean_against: tuple[Dataset, ...] = ()

    @model_validator(mode="after")
    def _has_folds(self) -> "Split":
        if self.fold == "all" and self.method not in ("kfold", "grouped-kfold"):
            raise ValueError(f"fold: all needs method kfold or grouped-kfold, not {self.method}")
        SplitSpec(**self._assigning | ({"fold": 0} if self.fold == "all" else {}))
        return self

    @property
    def spec(self) -> SplitSpec:
        """The part of it that assigns rows."""
        return SplitSpec(**self._assigning)

    @property
    def _assigning(self) -> dict[str, Any]:
        return self.model_dump(exclude={"clean", "clean_against"})


class Balance(_Part):
    """How the training rows are balanced, step after step.

    `order: balance-before-split` balances all rows first and splits the result at random, as some papers printed it:
    made rows then stand on both sides of the split, and every table and report of the run says so.
    """

    order: Literal["after-split", "balance-before-split"] = "after-split"
    steps: list[Any] = []

    @model_validator(mode="after")
    def _known(self) -> "Balance":
        balance_steps.parse(self.steps)
        return self


class Evaluate(_Part):
    """How the finished network is judged.

    `flip` averages each picture with its mirror image; `bootstrap` resamples make the 95% intervals; below the
    confidence at which `answered_accuracy` is reached on validation an answer is called uncertain.
    """

    flip: bool = False
    bootstrap: int = Field(1000, ge=0)
    answered_accuracy: float = Field(0.9, gt=0, lt=1)


_PLACES: Any = {"name": True, "data": {"root"}, "split": {"clean_against": {"__all__": {"root"}}}}


class Recipe(_Part):
    """One run, from dataset to report."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    data: Data
    protocol: str | None = None
    split: Split = Split()
    audit: Literal["on", "strict", "off"] = "on"
    chain: list[Any]
    balance: Balance = Balance()
    augment: Augment = Augment()
    model: Model = Model()
    triplet: TripletSpec | None = None
    fit: Fit = Fit()
    evaluate: Evaluate = Evaluate()
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field((0,), min_length=1)

    @field_validator("chain")
    @classmethod
    def _every_value_explicit(cls, given: list[Any]) -> list[Any]:
        return Chain.parse(given).as_list()

    @field_validator("audit", mode="before")
    @classmethod
    def _not_a_truth_value(cls, given: Any) -> Any:
        # YAML reads a bare `on` and `off` as true and false.
        return {True: "on", False: "off"}.get(given, given) if isinstance(given, bool) else given

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        chain = Chain.parse(self.chain)
        if chain.size is None or chain.channels is None:
            raise ValueError("the chain must end in one size and one kind: add a resize step, and grey or colour")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds must differ from one another")
        if self.triplet:
            given = [("model", self.model, Model()), ("augment", self.augment, Augment()), ("fit", self.fit, Fit())]
            if unused := [name for name, value, default in given if value != default]:
                raise ValueError(f"triplet trains FaceNet with its own settings: leave out {', '.join(unused)}")
        if ignored := _ignored(self, chain.size):
            raise ValueError("; ".join(ignored))
        if self.split.clean == "train" and self.audit == "off":
            raise ValueError("split.clean: train needs the audit, which finds the twins: set audit: on")
        return self

    @property
    def digest(self) -> str:
        """A digest of all that shapes the result: everything but the name and the place of the data."""
        content = self.model_dump(mode="json", exclude=_PLACES)
        return digest(json.dumps(content, sort_keys=True))

    @property
    def changed_rows(self) -> dict[str, Any]:
        """The settings that leave rows of the source out, or make some before the split; no protocol has any."""
        found = {f"data.{key}": getattr(self.data, key) for key in ("classes", "hold_out", "limit")}
        early = self.balance.order if self.balance.order != "after-split" else None
        return {key: value for key, value in (found | {"balance.order": early}).items() if value}

    @property
    def others(self) -> tuple[Data, ...]:
        """The datasets of `split.clean_against`, each with the place where it is."""
        found = []
        for each in self.split.clean_against:
            root = each.root or (self.data.root if needs_root(each.source) else None)
            found.append(Data(**each.model_dump() | {"root": root}))
        return tuple(found)

    @property
    def backbone(self) -> str:
        """The name of its network; FaceNet where it trains an embedding."""
        return "facenet" if self.triplet else self.model.backbone

    @property
    def builds_on(self) -> tuple[Path, ...]:
        """What it takes weights from or is taught by: folders of earlier runs, bundles, and files of weights."""
        weights = run_of(Path(self.model.weights)) if self.model.weights else None
        return (*([weights] if weights else []), *map(Path, self.fit.teachers))

    @property
    def repetitions(self) -> dict[str, "Recipe"]:
        """The runs that several seeds or all folds stand for, by the name of their folder; empty for a single run."""
        folds = range(self.split.folds) if self.split.fold == "all" else [self.split.fold]
        if len(self.seeds) == len(folds) == 1:
            return {}
        found = {}
        for seed, fold in product(self.seeds, folds):
            parts = [f"seed-{seed}"] * (len(self.seeds) > 1) + [f"fold-{fold}"] * (len(folds) > 1)
            split = self.split.model_copy(update={"fold": fold})
            found["-".join(parts)] = self.model_copy(update={"seeds": (seed,), "split": split})
        return found

    def save(self, path: Path) -> None:
        """Write the recipe as YAML, every value explicit."""
        write_text(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def load(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe, from a file or by the name of one that ships; `changes` are texts like `fit.epochs=3`, on top.

    Raises UsageError that names the key and what is allowed, with the nearest known key for a misspelt one.
    """
    path = Path(path)
    content = read_content(path)
    if "axes" in content or "protocols" in content:
        study = str(path).startswith("studies/")
        then = f"mien replay {path.stem}" if study else f"mien compare {path}"
        raise UsageError(f"{path} is a grid of recipes, not one", got=sorted(content), then=then)
    return parse(changed(content, changes), str(path))


def _ignored(recipe: Recipe, size: tuple[int, int]) -> list[str]:
    """The settings that would change nothing beside the others, and what they belong to."""
    split, balance, augment, model, fit = recipe.split, recipe.balance, recipe.augment, recipe.model, recipe.fit
    folds = "kfold" in split.method
    moves = any((augment.rotation, augment.shift_x, augment.shift_y, augment.shear, augment.zoom))
    cases = [
        ("split", split, "fold", folds or split.fold == "all", "split.method: kfold or grouped-kfold"),
        ("split", split, "folds", folds, "split.method: kfold or grouped-kfold"),
        ("split", split, "clean_against", split.clean == "train", "split.clean: train"),
        ("split", split, "group", "grouped" in split.method, "split.method: grouped or grouped-kfold"),
        ("balance", balance, "order", bool(balance.steps), "balance.steps"),
        ("augment", augment, "fill", moves, "augment.rotation, shift_x, shift_y, shear or zoom"),
        ("model", model, "freeze", model.transfer == "partial", "model.transfer: partial"),
        ("fit", fit, "momentum", fit.optimiser in ("sgd", "rmsprop"), "fit.optimiser: sgd or rmsprop"),
        ("fit", fit, "plateau_patience", fit.schedule == "plateau", "fit.schedule: plateau"),
        ("fit", fit, "progressive", size[0] == size[1], "a chain that ends in square pictures"),
        ("fit", fit, "teacher_share", bool(fit.teachers), "fit.teachers"),
        *(
            ("fit", fit, key, not fit.teachers or fit.teacher_share < 1, "fit.teacher_share below 1")
            for key in ("label_smoothing", "class_weights", "soft_labels")
        ),
    ]
    return [
        f"{name}.{key} changes nothing without {owner}"
        for name, part, key, used, owner in cases
        if not used and getattr(part, key) != type(part).model_fields[key].default
    ]


def read_content(path: Path) -> dict[str, Any]:
    """The plain content of a recipe that `places.recipe_file` finds."""
    file = recipe_file(path)
    try:
        content = from_yaml(file.read_text(encoding="utf-8"), file.name)
    except (OSError, UnicodeDecodeError) as reason:
        raise UsageError(f"cannot read the recipe {path}: {reason}") from reason
    except (yaml.YAMLError, ValueError) as reason:
        raise UsageError(f"{path} is not valid YAML: {reason}") from reason
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a recipe: a recipe is a mapping of keys")
    return content


def changed(content: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The content with changes `key.key=value` applied; values are YAML."""
    for change in changes:
        _set(content, change)
    return content


def parse(content: dict[str, Any], origin: str = "the recipe") -> Recipe:
    """A recipe from its plain values. Raises UsageError as `load` does."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as failure:
        raise UsageError(f"{origin} is not a valid recipe", got=[_explained(e) for e in failure.errors()]) from failure
    except MienError as failure:
        raise UsageError(
            f"{origin}: {failure.what}", got=failure.got, allowed=failure.allowed, then=failure.then
        ) from failure


def _set(content: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise UsageError("a change must be written key.key=value", got=change, allowed="for example fit.epochs=3")
    *parents, last = path.split(".")
    place = content
    for key in parents:
        if not isinstance(place.get(key), dict):
            place[key] = {}
        place = place[key]
    try:
        place[last] = from_yaml(text)
    except (yaml.YAMLError, ValueError) as reason:  # ValueError: a date that is none, such as 2024-13-01
        raise UsageError(
            f"the value of {path} is not valid YAML: {reason}", got=change, allowed="for example fit.epochs=3"
        ) from reason


def run_of(weights: Path) -> Path | None:
    """The run folder that weights are in: the folder itself, or that whose `checkpoints` hold the file; else the file.

    It need not be there any more: a finished run built on it nonetheless. None for a hub's weights, which saw no data
    of ours.
    """
    if str(weights) == "hub":
        return None
    if weights.suffix not in WEIGHTS:
        return weights
    return next((folder.parent for folder in weights.resolve().parents if folder.name == "checkpoints"), weights)


def _explained(error: Any) -> str:
    where = ".".join(str(key) for key in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{where or 'recipe'}: {error['msg'].removeprefix('Value error, ')}"
    *parents, last = error["loc"]
    part: Any = Recipe
    for key in parents:
        if isinstance(key, str) and key in part.model_fields:
            kinds = [part.model_fields[key].annotation, *getattr(part.model_fields[key].annotation, "__args__", ())]
            part = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), part)
    near = get_close_matches(str(last), part.model_fields, n=1)
    meant = f"; did you mean '{near[0]}'?" if near else f"; known keys: {', '.join(part.model_fields)}"
    return f"{where}: unknown key{meant}"
