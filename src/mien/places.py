"""What people name on the command line, found before anything heavy is loaded: recipes and runs."""

from itertools import chain, count
from pathlib import Path

from mien.errors import RunError, UsageError, unknown


def shipped() -> dict[str, Path]:
    """The recipes that come with mien, by name: `fer2013`, `studies/smote-vgg19`, `models/ferplus`, ..."""
    folder = Path(__file__).parent / "recipes"
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.yaml"))}


def recipe_file(name: Path) -> Path:
    """The YAML file of a recipe: the one in a run's folder, one that ships, by its name, or a file.

    A run's folder comes first: who names one by mistake is told that it is taken, while a recipe that ships would train
    something else without a word. Raises UsageError where there is none: for a path with the place that was looked at,
    else with the nearest name.
    """
    known = shipped()
    if (name / "recipe.yaml").is_file():
        return name / "recipe.yaml"
    if str(name) in known:
        return known[str(name)]
    if name.exists() and not name.is_dir():
        return name
    if name.is_dir():
        then = f"to train on the pictures in it: mien train finetune --set data.root={name}"
        raise UsageError("this folder holds no run, and so no recipe", got=name, then=then)
    missing = unknown("recipe", str(name), ["FILE.yaml", *known])
    if name.suffix in (".yaml", ".yml") or len(name.parts) > 1:
        raise UsageError("no such recipe file, and no such folder of a run", got=name.absolute(), then=missing.then)
    raise missing


def unused(path: Path) -> Path:
    """The path itself where nothing is there, else the first free one of its name with a number: `cross-2.html`."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(place for place in chain([path], numbered) if not place.exists())


def check_finished(run: Path, role: str = "") -> None:
    """Raise RunError for the folder of anything but a finished run, saying how to finish it; `role` is what it is."""
    if (run / "metrics.json").is_file():
        return
    if several := sorted(str(path.parent) for path in run.glob("*/metrics.json")):
        raise RunError(
            f"{role}{run} is not a finished run but a folder of runs", allowed=several, then="name one of them"
        )
    begun = (run / "recipe.yaml").is_file()
    then = f"mien train {run} --resume" if begun else "name a run folder written by mien train"
    raise RunError(f"{role}{run} is not a finished run", then=then)


def repetitions(folder: Path) -> list[Path]:
    """The finished seeds or folds in the folder of a recipe; none for a single run."""
    if (folder / "metrics.json").is_file() or not (folder / "recipe.yaml").is_file():
        return []
    return sorted(path.parent for path in folder.glob("*/metrics.json"))
