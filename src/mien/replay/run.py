"""Replaying a study: its cells under each protocol, run where missing, and their figures beside the printed ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from mien.compare import compare
from mien.data.sources.catalog import load
from mien.errors import DataError, UsageError
from mien.evaluation import comparison
from mien.evaluation.statistics import holm, unpaired_difference
from mien.grids import Cell, spread
from mien.imaging.chain import Chain
from mien.recipe import Balance, Data, Recipe, Split
from mien.replay.data import Found, find, fitted_to
from mien.replay.figures import held_out, of_run, on_ferplus
from mien.replay.published import STUDIES
from mien.replay.settings import otherwise
from mien.replay.studies import DIFFERS, PROTOCOLS, Protocol, Scale, grid, published_arm
from mien.stages import Stages, silent, within

START_ROWS = 800
START_SEED = 1
"""Other faces than those that stand in for a study's own data."""
ON_FERPLUS = " on FERPlus"


@dataclass(frozen=True)
class Plan:
    """All cells of a replay: by protocol and arm the name of a run, and each distinct run once."""

    found: Found
    arms: Mapping[Protocol, Mapping[str, str]]
    cells: Mapping[str, Cell]
    places: Mapping[str, Mapping[str, str]]


def plan(
    study: str, root: Path | None, protocols: Sequence[Protocol], scale: Scale, changes: Sequence[str] = ()
) -> Plan:
    """The cells of a study; those that are the same under both protocols are one run.

    Raises UsageError for an unknown study and for changes of what a replay sets itself, DataError where the data is
    not there.
    """
    grids = {protocol: grid(study, protocol, scale) for protocol in protocols}
    found = find(next(iter(grids.values()))["base"]["data"]["source"], root, scale)
    _check(changes, found)
    arms: dict[Protocol, dict[str, str]] = {}
    cells: dict[str, Cell] = {}
    names: dict[str, str] = {}
    places: dict[str, Mapping[str, str]] = {}
    for protocol, content in grids.items():
        arms[protocol] = {}
        for cell in spread(content, changes, study):
            recipe, arm = fitted_to(cell.recipe, found), "/".join(cell.place.values())
            if recipe.repetitions:
                raise UsageError(
                    "an arm of a replay is one run", got=list(recipe.repetitions), allowed="one seed, one fold",
                    then=f"mien compare studies/{study}, for several",
                )  # fmt: skip
            name = names.setdefault(recipe.digest, f"{recipe.name}-{protocol}")
            cells.setdefault(name, replace(cell, recipe=recipe.model_copy(update={"name": name})))
            arms[protocol][arm], places[arm] = name, cell.place
    return Plan(found, arms, cells, places)


def _check(changes: Sequence[str], found: Found) -> None:
    """Raise UsageError for changes that a replay would not heed."""
    said = {"name": "runs are named after their cells", "data": "use --root"}
    said |= {"data.source": said["data"], "data.root": said["data"]}
    for change in changes:
        key = change.partition("=")[0]
        if key in said:
            raise UsageError(f"a replay sets {key} itself", got=change, then=said[key])
        if key.startswith("data.options") and not found.own:
            raise UsageError(
                f"{key} is the study's own data's, which is not there", got=change, allowed=found.source,
                then="name the study's data with --root",
            )  # fmt: skip


def replay(
    study: str,
    root: Path | None = None,
    protocols: Sequence[Protocol] = PROTOCOLS,
    scale: Scale = "small",
    out: Path = Path("runs"),
    changes: Sequence[str] = (),
    stages: Stages = silent,
    ferplus: Path | None = None,
) -> dict[str, Any]:
    """Run what is missing of a study below `out` and set its figures beside the printed ones, JSON-able.

    `ferplus` is where FERPlus lies, for a study that judged an arm on its test part too (UsageError for another).
    `arms` has the figures, `findings` the differences that the study is about, `differs` what was not done as in the
    paper, `failures` the cells that could not be run. Raises as `plan` does, and MienError where the file of a restorer
    is not there.
    """
    made, paper = plan(study, root, protocols, scale, changes), STUDIES[study]
    if ferplus and not any(name.endswith(ON_FERPLUS) for name in paper.elsewhere):
        raise UsageError(f"no arm of {study} is evaluated on FERPlus", got=ferplus, then="leave out --ferplus")
    # Files that are not there are told before hours of training, not after.
    if ferplus:
        load("ferplus", ferplus)
    for cell in made.cells.values():
        Chain.parse(cell.recipe.chain).check()
    cells, failures = _started(made.cells, out / "start", stages) if scale == "small" else (made.cells, {})
    compared = compare(list(cells.values()), out, stages)
    figures = {name: of_run(run) for name, run in compared.runs.items()}

    def judged(name: str, where: str, judge: Callable[[Path, Stages], dict[str, Any]]) -> dict[str, Any] | None:
        """What a finished run is worth elsewhere; where that cannot be told, the others are told all the same."""
        try:
            return judge(compared.runs[name], within(stages, name))
        except Exception as failure:
            failures[name] = f"{where}: {type(failure).__name__}: {failure}"
            return None

    for name in compared.runs:
        if cells[name].recipe.data.hold_out:
            figures[name]["held_out"] = judged(name, "on the held-out test part", held_out)
    arms = {p: {a: n for a, n in arms.items() if n in figures} for p, arms in made.arms.items()}
    predictions = {name: pd.read_parquet(run / "predictions.parquet") for name, run in compared.runs.items()}
    return {
        "study": study,
        "title": f"{paper.authors} {paper.year}: {paper.title}",
        "question": paper.question,
        "scale": scale,
        "protocols": list(protocols),
        "data": {"source": made.found.source, "root": str(root or ""), "own": made.found.own},
        "arms": [
            {
                "arm": arm,
                "published": paper.figures[published_arm(place)]._asdict(),
                "published_classes": {
                    label: each._asdict() for label, each in paper.per_class.get(published_arm(place), {}).items()
                },
                "replayed": {protocol: figures[names[arm]] for protocol, names in arms.items() if arm in names},
                "gain": _gain(predictions, [names[arm] for names in arms.values() if arm in names]),
            }
            for arm, place in made.places.items()
        ],
        "elsewhere": [
            {
                "what": what,
                "published": printed._asdict(),
                "replayed": {
                    protocol: judged(names[arm], "on FERPlus", partial(on_ferplus, ferplus))
                    for protocol, names in arms.items()
                    if ferplus and (arm := what.removesuffix(ON_FERPLUS)) in names
                },
            }
            for what, printed in paper.elsewhere.items()
        ],
        "findings": [
            finding
            for protocol, names in arms.items()
            for finding in _findings(protocol, {arm: predictions[name] for arm, name in names.items()})
        ],
        "claims": list(paper.claims),
        "settings": dict(paper.settings),
        "differs": differs(study, scale, made, changes),
        "doubts": [doubt.text for doubt in paper.doubts],
        "failures": failures | dict(compared.failures),
    }


def _started(cells: Mapping[str, Cell], folder: Path, stages: Stages) -> tuple[dict[str, Cell], dict[str, str]]:
    """The cells with an earlier run on synthetic faces in the place of hub weights, and those without such a run."""
    # The first cell of each backbone is the one without treatment.
    hub = [cell for cell in cells.values() if cell.recipe.model.weights == "hub"]
    wanting = {cell.recipe.model.backbone: cell for cell in reversed(hub)}
    if not wanting:
        return dict(cells), {}
    compared = compare([_start(cell) for cell in wanting.values()], folder, stages)
    ready: dict[str, Cell] = {}
    failures: dict[str, str] = {}
    for name, cell in cells.items():
        model, start = cell.recipe.model, f"start-{cell.recipe.model.backbone}"
        if model.weights != "hub":
            ready[name] = cell
        elif start in compared.runs:
            model = model.model_copy(update={"weights": str(compared.runs[start])})
            ready[name] = replace(cell, recipe=cell.recipe.model_copy(update={"model": model}))
        else:
            failures[name] = f"no weights to start from: {compared.failures[start]}"
    return ready, failures


def _start(cell: Cell) -> Cell:
    recipe, model = cell.recipe, cell.recipe.model
    rows = min(START_ROWS, recipe.data.limit or START_ROWS)
    return Cell(
        recipe.model_copy(
            update={
                "name": f"start-{model.backbone}",
                "data": Data(source="synthetic", options={"count": rows, "seed": START_SEED}),
                "split": Split(),
                "balance": Balance(),
                "model": model.model_copy(update={"transfer": "scratch", "weights": None}),
            }
        ),
        {"backbone": model.backbone},
    )


def _gain(predictions: Mapping[str, pd.DataFrame], names: Sequence[str]) -> dict[str, float | None] | None:
    """Accuracy as published minus accuracy leak-free, paired where the test rows are the same; None for one run."""
    if len(set(names)) < 2:
        return None
    published, clean = (predictions[name] for name in names)
    return _pair(clean, published)["difference"]


def _apart(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, float | None]:
    """Accuracy of `b` minus that of `a` on other rows; people, or parents with their children, are drawn as one."""

    def right(rows: pd.DataFrame) -> pd.Series:
        return rows["label"] == rows["predicted"]

    drawn = comparison.drawn_by
    return unpaired_difference(right(a), right(b), groups_a=drawn(a), groups_b=drawn(b)).as_dict()


def _findings(protocol: Protocol, arms: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Every arm against the first; of a grid of many arms, which one leads and whether beyond chance."""
    if len(arms) < 2:
        return []
    if len(arms) > 3:
        return [_leader(protocol, arms)]
    (first, before), *others = arms.items()
    found = [
        {"protocol": protocol, "what": f"{name} against {first}", **_pair(before, after)} for name, after in others
    ]
    tested = [finding for finding in found if finding["p"] is not None]
    if len(tested) > 1:
        for finding, p in zip(tested, holm([finding["p"] for finding in tested]), strict=True):
            finding |= {"p": p, "test": f"{finding['test']}, Holm"}
    return found


def _pair(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, Any]:
    try:
        found = comparison.compare(before, after)
    except DataError:
        return {"difference": _apart(before, after), "p": None, "test": None, "rows": "each on its own test rows"}
    return {
        "difference": found.difference.as_dict(),
        "p": found.p,
        "test": found.test,
        "rows": f"on the same {found.rows} test rows",
    }


def _leader(protocol: Protocol, arms: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    accuracy = {name: float((rows["label"] == rows["predicted"]).mean()) for name, rows in arms.items()}
    lead = max(accuracy, key=lambda name: accuracy[name])
    # Treatments that change the test rows cannot be tested against one another: only those on the leader's own.
    images = set(arms[lead]["image"])
    peers = {name: rows for name, rows in arms.items() if set(rows["image"]) == images}
    best = comparison.rank(peers).best if len(peers) > 1 else None
    against = f"{'beyond' if best == lead else 'not beyond'} chance against {len(peers) - 1} cells on the same rows"
    return {
        "protocol": protocol,
        "what": f"highest accuracy: {lead}",
        "difference": None,
        "p": None,
        "test": None,
        "rows": against if len(peers) > 1 else "no other cell has the same test rows, so nothing is tested",
    }


def differs(study: str, scale: Scale, made: Plan, changes: Sequence[str] = ()) -> list[str]:
    """What a replay does not do as the paper did: its study's own, its data, and its settings as they are."""
    base = grid(study, "leak-free", scale)["base"]
    texts = [*DIFFERS[study]["full"], *made.found.differs(base["data"]["source"])]
    leak_free = {cell.recipe.split.method for cell in made.cells.values() if cell.recipe.split.clean == "train"}
    if "leak-free" not in made.arms:
        base = base | {"split": {"method": "official"}}
    elif "grouped" in leak_free:
        texts.append("This data names its people: the leak-free split keeps each person in one part.")
    if base["split"]["method"] == "grouped" and base["split"]["group"] not in made.found.groups:
        texts.append(
            f"This data names no {base['split']['group']}s: the leak-free split cannot keep them together, and drops "
            "training rows with a twin in another part instead."
        )
    if unlike := otherwise(_beside_full_scale(study, made)):
        texts.insert(0, f"Settings that differ from full scale: {unlike}.")
    if scale == "small":
        recipe = next(iter(made.cells.values())).recipe
        limit = [f"Small scale: at most {recipe.data.limit} rows."] if recipe.data.limit else []
        texts = [*limit, *DIFFERS[study]["small"], *texts]
    if scale == "small" and any(cell.recipe.model.weights == "hub" for cell in made.cells.values()):
        texts.append(
            "ImageNet weights are not available: the transfer arms start from the same network fitted on synthetic "
            "faces."
        )
    if changes:
        texts.append(f"Changed on request: {', '.join(changes)}.")
    return texts


def _beside_full_scale(study: str, made: Plan) -> list[tuple[Recipe, Recipe]]:
    """Every cell's recipe at full scale, and the one that is used."""
    full = {p: {"/".join(cell.place.values()): cell for cell in spread(grid(study, p, "full"))} for p in made.arms}
    return [
        (full[p][arm].recipe, made.cells[name].recipe) for p, arms in made.arms.items() for arm, name in arms.items()
    ]
