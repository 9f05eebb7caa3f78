"""What a paper must say of a run: its method in sentences."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from mien.data.balance import parse
from mien.data.prepare import DROPPED
from mien.data.samples import SPLITS
from mien.data.split import NO_TEST_PART, NO_VALIDATION_PART, clusters
from mien.errors import counted
from mien.evaluation.report.folder import Run, flat
from mien.evaluation.statistics import units

_SPLITS = {
    "stratified": "(split seed {seed}), with {shares} of each class for training, validation and test",
    "grouped": "(split seed {seed}), with about {shares} for training, validation and test and each {group} in one "
    "part",
    "kfold": "into {folds} folds with equal shares of each class (split seed {seed}); fold {fold}, counted from 0, is "
    "the test part, and {carved} of the others, with equal shares of each class, the validation part",
    "grouped-kfold": "into {folds} folds with each {group} in one of them (split seed {seed}); fold {fold}, counted "
    "from 0, is the test part, and about {carved} of the others, each {group} whole, the validation part",
}
_CARVED = (
    "about {carved} of its training part (split seed {seed}), drawn as whole people or sequences where all are named, "
    "else with equal shares of each class"
)
_AUGMENTED = {
    "rotation": "rotation by up to {:g} degrees",
    "shift_x": "a horizontal shift by up to {} of the width",
    "shift_y": "a vertical shift by up to {} of the height",
    "shear": "shear by up to {:g} degrees",
    "zoom": "a scale of 1 ± up to {}",
    "flip_horizontal": "mirroring with a chance of {}",
    "flip_vertical": "turning upside down with a chance of {}",
    "brightness": "brightness by up to ± {} of full white",
    "contrast": "contrast by up to ± {} of the picture's own",
    "erasing": "a blanked rectangle with a chance of {}",
    "mixup": "mixup with an alpha of {}",
    "cutmix": "CutMix with an alpha of {}",
    "noise": "Gaussian noise of a standard deviation up to {} of full white on half of each batch",
}
_MOVES = ("rotation", "shift_x", "shift_y", "shear", "zoom")
_STARTS = {
    "scratch": "from random weights",
    "full": "whole from {weights}",
    "partial": "from {weights}, but for the first layers with up to {freeze} of the backbone's parameters,",
    "frozen": "from {weights}, in its head alone,",
}
_OPTIMISERS = {"sgd": "sgd (Nesterov momentum {momentum:g})", "rmsprop": "rmsprop (momentum {momentum:g})"}
_TRIPLET_OPTIMISERS = {"sgd": "sgd (momentum 0.9)"}
_SCHEDULES = {
    "constant": "stays at {learning_rate:g}",
    "plateau": "starts at {learning_rate:g} and is divided by ten whenever more than {plateau_patience} epochs in a "
    "row bring no lower validation loss",
    "cosine": "falls from {learning_rate:g} to zero along a cosine",
    "one-cycle": "rises to {learning_rate:g} over the first quarter of the steps and falls to zero along a cosine",
}
_READOUTS = {
    "centroid": "the nearest mean of the training vectors of a class",
    "neighbours": "the nearest training vectors",
    "linear": "a linear layer fitted on the training vectors",
}


def sentences(run: Run) -> list[str]:
    """The method of a run as a paper tells it; empty for a run without a whole recipe or without its rows."""
    recipe, samples = run.recipe, run.samples
    if samples is None or not {"data", "split", "chain", "balance", "model", "fit", "evaluate"} <= recipe.keys():
        return []
    fitted = _embedding(recipe) if recipe["triplet"] else _network(run)
    return [*_data(run, samples), *_pictures(recipe), *fitted, *_figures(run, samples)]


def _data(run: Run, samples: pd.DataFrame) -> Iterator[str]:
    data, split, balance = run.recipe["data"], run.recipe["split"], run.recipe["balance"]
    fewer = [f"only the classes {_joined(data['classes'])}"] if data["classes"] else []
    fewer += ["without the official test part"] if data["hold_out"] else []
    fewer += [f"a stratified sample of at most {data['limit']:,} pictures"] if data["limit"] else []
    yield f"Data: {'; '.join([_source(data), *fewer])}."
    early = balance["order"] == "balance-before-split"
    balanced = "; ".join(map(_step, _whole(balance["steps"])))
    if balanced and early:
        yield f"All pictures, also those for validation and test, were balanced before the split: {balanced}."
    yield _split(run)
    if split["clean"] == "train":
        others = [f" or those of {_source(each)} (all if it has no such parts)" for each in split["clean_against"]]
        held_out = f"validation and test pictures{''.join(others)}"
        yield f"Training pictures with an exact or near twin among {held_out} were left out."
    yield _audit(run)
    if balanced and not early:
        yield f"Training pictures were balanced after the split: {balanced}."
    yield f"The run had {'; '.join(_count(samples, part) for part in SPLITS)}."
    if run.problems is not None:
        yield _not_used(run.problems)


def _source(data: dict[str, Any]) -> str:
    told = ", ".join(f"{key} {value}" for key, value in flat(data["options"]))
    return f"{data['source']} ({told})" if told else str(data["source"])


def _whole(steps: list[Any]) -> Iterator[dict[str, Any]]:
    """Balancing steps with what they leave to the defaults, but for amounts of nothing."""
    for given, step in zip(steps, parse(steps), strict=True):
        values = {field.name: getattr(step, field.name) for field in fields(step) if field.init}
        told = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if value}
        yield {named(given)[0]: told}


def _split(run: Run) -> str:
    split = run.recipe["split"]
    protocol = f" (protocol {run.protocol})" if run.protocol else ""
    train, validation, _ = split["fractions"]
    shares, carved = _joined([_share(part) for part in split["fractions"]]), _share(validation / (train + validation))
    if split["method"] != "official":
        how = _SPLITS[split["method"]].format(**split, shares=shares, carved=carved)
        return f"The data was split at random {how}{protocol}."
    drawn = f"validation pictures are {_CARVED.format(carved=carved, seed=split['seed'])}{protocol}"
    if _told(run, NO_TEST_PART):
        return f"Test pictures are the validation part that the dataset publishes; {drawn}."
    if _told(run, NO_VALIDATION_PART):
        return f"Test pictures are those that the dataset publishes; {drawn}."
    return f"The split is the one that the dataset publishes{protocol}."


def _audit(run: Run) -> str:
    twins = "twins of validation and test pictures in training"
    people = "people and sequences, where they are named, in several parts"
    if run.recipe["audit"] == "off":
        return f"No audit looked for {twins} or for {people}."
    findings = [each for each in (run.audit or {}).get("findings", []) if _told(run, f"{each['code']}: ")]
    if not findings:
        found = "nothing else" if run.recipe["split"]["clean"] == "train" else "none"
        return f"An audit for {twins} and for {people} found {found}."
    left = _joined([f"{each['code']} ({each['count']:,})" for each in findings])
    return f"An audit for {twins} and for {people} told of {left}, and nothing was done about it."


def _told(run: Run, beginning: str) -> bool:
    """Whether a note of the run begins so."""
    return any(note.startswith(beginning) for note in run.metrics.get("notes", []))


def _not_used(problems: pd.DataFrame) -> str:
    dropped = problems["reason"].str.startswith(DROPPED)
    reasons = problems["reason"].where(dropped, "unreadable").str.removeprefix(DROPPED).value_counts()
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    return f"Of the data, {counted(len(problems), 'further picture')} could not be used ({told})."


def _count(samples: pd.DataFrame, part: str) -> str:
    rows = samples[samples["split"] == part]
    real = int((rows["source"] != "made").sum())
    name = "training" if part == "train" else part
    if real == len(rows):
        return f"{real:,} {name} pictures"
    return f"{len(rows):,} {name} rows, {real:,} of them real pictures"


def _pictures(recipe: dict[str, Any]) -> Iterator[str]:
    yield f"Each picture went through the steps {'; '.join(map(_step, recipe['chain']))}."
    augment = recipe["augment"]
    used = [text.format(augment[name]) for name, text in _AUGMENTED.items() if augment[name]]
    filled = f"; fill outside of the picture: {augment['fill']}" if any(augment[name] for name in _MOVES) else ""
    if used:
        yield f"Training pictures were changed at random: {', '.join(used)}{filled}."


def _step(step: Any) -> str:
    name, parameters = named(step)
    told = ", ".join(f"{key} {value}" for key, value in flat(parameters) if value not in ("", "None"))
    return f"{name} ({told})" if told else name


def named(step: Any) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a step as recipes write it."""
    if not isinstance(step, dict):
        return str(step), {}
    ((name, parameters),) = step.items()
    return name, parameters if isinstance(parameters, dict) else {}


def _network(run: Run) -> Iterator[str]:
    fit, model = run.recipe["fit"], run.recipe["model"]
    passed = fit["epochs"] if run.history is None else len(run.history)
    epochs = _epochs(passed) if passed == fit["epochs"] else f"{passed} of at most {_epochs(fit['epochs'])}"
    weights = "timm's pretrained weights" if model["weights"] == "hub" else f"the weights of {model['weights']}"
    start = _STARTS[model["transfer"]].format(weights=weights, freeze=_share(model["freeze"]))
    dropout = f"a dropout of {model['dropout']:g}"
    hidden = f"{_joined(model['head'])} hidden units, ReLU and {dropout}" if model["head"] else ""
    arithmetic = f", in {run.arithmetic} arithmetic" if run.arithmetic else ""
    yield (
        f"The network {model['backbone']} with {hidden or f'{dropout} before the output'} was trained {start} for "
        f"{epochs} in batches of {fit['batch']}{arithmetic}, with seed {_joined(run.recipe['seeds'])}."
    )
    optimiser = _OPTIMISERS.get(fit["optimiser"], fit["optimiser"]).format(**fit)
    decay = f"a weight decay of {fit['weight_decay']:g}, except on biases and norms" if fit["weight_decay"] else ""
    rate = _SCHEDULES[fit["schedule"]].format(**fit)
    yield f"The optimiser was {optimiser} with {decay or 'no weight decay'}; the learning rate {rate}."
    yield from _loss(fit, run.recipe["augment"]["noise"])
    if fit["progressive"]:
        grown = _share(fit["progressive"])
        yield f"Training pictures grew from two thirds of their size to all of it over the first {grown} of the epochs."
    if fit["ema"]:
        yield f"What was validated and kept is the running average of the weights, with a decay of {fit['ema']} a step."
    best = "lowest loss" if fit["monitor"] == "loss" else "highest accuracy"
    ended = f"; the fit ends after {_epochs(fit['patience'])} without a better one" if fit["patience"] else ""
    yield f"The epoch with the {best} on validation pictures was kept{ended}."


def _loss(fit: dict[str, Any], noise: float) -> Iterator[str]:
    used = ["the annotators' votes as targets"] if fit["soft_labels"] else []
    used += [f"a label smoothing of {fit['label_smoothing']}"] if fit["label_smoothing"] else []
    used += ["classes weighted by their inverse frequency"] if fit["class_weights"] == "balanced" else []
    yield f"The loss was cross-entropy{f' with {_joined(used)}' if used else ''}."
    if fit["teachers"]:
        seen = "the same pictures without noise" if noise else "the same pictures"
        several = len(fit["teachers"]) > 1
        who = f"what the teacher{'s' if several else ''} {_joined(fit['teachers'])} answered to {seen}"
        average = " on average" if several else ""
        plain = ", classes unweighted" if fit["class_weights"] == "balanced" else ""
        yield f"Of it, {_share(fit['teacher_share'])} was instead the cross-entropy with {who}{average}{plain}."


def _embedding(recipe: dict[str, Any]) -> Iterator[str]:
    triplet = recipe["triplet"]
    yield (
        f"A FaceNet embedding of {triplet['dimensions']} dimensions was trained from random weights with triplets "
        f"({triplet['mining']} mining, margin {triplet['margin']}) for {_epochs(triplet['epochs'])} in batches of "
        f"{triplet['batch']} with even classes, with seed {_joined(recipe['seeds'])}. The optimiser was "
        f"{_TRIPLET_OPTIMISERS.get(triplet['optimiser'], triplet['optimiser'])}, with a constant learning rate of "
        f"{triplet['learning_rate']:g}."
    )
    if triplet["doubling"]:
        yield "Each training picture was there twice, the second time turned and shifted."
    yield (
        f"Every {triplet['validate_every']} batches it answered at most {triplet['validation_rows']:,} validation "
        "pictures, always the same, by the nearest class mean of as many training pictures; the weights with the "
        f"highest accuracy were kept. Pictures are answered by {_READOUTS[triplet['readout']]}."
    )


def _figures(run: Run, samples: pd.DataFrame) -> Iterator[str]:
    evaluate, packages = run.recipe["evaluate"], run.environment.get("packages", {})
    if evaluate["flip"]:
        yield "Each answer is the mean over a picture and its mirror image."
    fitted = run.metrics.get("calibrated_on") or {"rows": 0, "of": 0}
    fewer = (
        f", without the {fitted['of'] - fitted['rows']:,} that training shows too"
        if fitted["of"] > fitted["rows"]
        else ""
    )
    yield f"Probabilities were calibrated by a temperature fitted on validation pictures{fewer}."
    if (threshold := run.metrics.get("uncertain_below")) is not None:
        yield (
            f"Answers with a confidence below {threshold:.3f} are called uncertain: by validation pictures, at least "
            f"{_share(evaluate['answered_accuracy'])} of the others are right."
        )
    test = samples[samples["split"] == "test"]
    if evaluate["bootstrap"] and units(len(test), clusters(test)) > 1:
        drawn = _drawn(test)
        worth = "" if drawn == "pictures" else ", for as many pictures as would tell the same each by itself"
        yield (
            "Intervals are 95%: of accuracy, top-2 accuracy, and recall and precision of a class "
            f"Wilson's{worth}; of others from a bootstrap of {evaluate['bootstrap']:,} resamples of {drawn}. What "
            "chance adds to the calibration error is taken off its interval."
        )
    versions = ", ".join(f"{name} {packages[name]}" for name in ("mien", "torch", "onnxruntime") if name in packages)
    if versions:
        yield f"Software: {versions}."


def _drawn(test: pd.DataFrame) -> str:
    """What the intervals of test figures resample, as `mien.data.split.clusters` has it."""
    for column, each in (("subject", "people"), ("sequence", "sequences")):
        if test[column].notna().any():
            return f"whole {each}" if test[column].notna().all() else f"whole {each} where they are named"
    return "pictures" if test["parent"].isna().all() else "pictures, each together with what was made of it"


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count > 1 else ''}"


def _share(part: float) -> str:
    return f"{100 * part:.3g}%"


def _joined(each: Sequence[Any]) -> str:
    *first, last = map(str, each)
    return f"{', '.join(first)} and {last}" if first else last
