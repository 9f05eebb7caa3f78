"""What a paper must say of a run: its method in sentences, and the works that these rest on."""

from collections.abc import Iterator
from typing import Any

from mien.evaluation.report.folder import Run, flat

_FER2013 = "Goodfellow et al. 2013: Challenges in representation learning: a report on three contests. ICONIP."
_CASCADE = "Viola & Jones 2001: Rapid object detection using a boosted cascade of simple features. CVPR."
REFERENCES = {
    "smote": "Chawla, Bowyer, Hall & Kegelmeyer 2002: SMOTE: synthetic minority over-sampling technique. JAIR 16.",
    "borderline-smote": "Han, Wang & Mao 2005: Borderline-SMOTE. Advances in Intelligent Computing.",
    "adasyn": "He, Bai, Garcia & Li 2008: ADASYN: adaptive synthetic sampling. IJCNN.",
    "clahe": "Zuiderveld 1994: Contrast limited adaptive histogram equalization. Graphics Gems IV.",
    "canny": "Canny 1986: A computational approach to edge detection. IEEE TPAMI 8.",
    "viola-jones": _CASCADE,
    "haar": _CASCADE,
    "yunet": "Wu, Peng & Yu 2023: YuNet: a tiny millisecond-level face detector. Machine Intelligence Research 20.",
    "mixup": "Zhang, Cisse, Dauphin & Lopez-Paz 2018: mixup: beyond empirical risk minimization. ICLR.",
    "cutmix": "Yun et al. 2019: CutMix: regularization strategy to train strong classifiers. ICCV.",
    "teachers": "Hinton, Vinyals & Dean 2015: Distilling the knowledge in a neural network. arXiv:1503.02531.",
    "triplet": "Schroff, Kalenichenko & Philbin 2015: FaceNet: a unified embedding for face recognition. CVPR.",
    "fer2013": _FER2013,
    "oheix": _FER2013,
    "ferplus": "Barsoum, Zhang, Canton Ferrer & Zhang 2016: Training deep networks for facial expression recognition "
    "with crowd-sourced label distribution. ICMI.",
    "ckplus": "Lucey et al. 2010: The extended Cohn-Kanade dataset (CK+). CVPR Workshops.",
    "affectnet": "Mollahosseini, Hasani & Mahoor 2019: AffectNet. IEEE Transactions on Affective Computing 10.",
    "rafdb": "Li, Deng & Du 2017: Reliable crowdsourcing and deep locality-preserving learning for expression "
    "recognition in the wild. CVPR.",
    "jaffe": "Lyons, Akamatsu, Kamachi & Gyoba 1998: Coding facial expressions with Gabor wavelets. FG.",
}
ALWAYS = (
    "Guo, Pleiss, Sun & Weinberger 2017: On calibration of modern neural networks. ICML.",
    "Hesterberg 2015: What teachers should know about the bootstrap. The American Statistician 69.",
)
_DATA = ("classes", "hold_out", "limit")
_FIT = ("label_smoothing", "soft_labels", "teachers", "class_weights", "ema", "patience", "progressive")
_UNUSED = ("", "0", "0.0", "False", "None", "none")
"""Settings that are told where they are used, and what they are where not."""

_SPLITS = {
    "official": "the split that the dataset publishes",
    "stratified": "a random split with equal shares of each class",
    "grouped": "a random split that keeps each {group} in one part",
    "kfold": "fold {fold} of a random {folds}-fold split",
    "grouped-kfold": "fold {fold} of a {folds}-fold split that keeps each {group} in one part",
}


def sentences(run: Run) -> list[str]:
    """The method of a run as a paper tells it; empty for a run without a whole recipe."""
    recipe = run.recipe
    if not {"data", "split", "chain", "balance", "augment", "model", "fit", "evaluate", "seeds"} <= recipe.keys():
        return []
    return [*_data(run), *_pictures(recipe), *_network(run), *_figures(run)]


def references(run: Run) -> list[str]:
    """The works that the method rests on, by what the recipe uses; empty where `sentences` is."""
    if not sentences(run):
        return []
    return sorted({*ALWAYS, *(REFERENCES[name] for name in _used(run.recipe) if name in REFERENCES)})


def _used(recipe: dict[str, Any]) -> Iterator[str]:
    yield recipe["data"]["source"]
    for step in [*recipe["chain"], *recipe["balance"]["steps"]]:
        name, parameters = _named(step)
        yield name
        yield parameters.get("detector", "")
    yield from (name for name, amount in recipe["augment"].items() if amount)
    if recipe["triplet"]:
        yield "triplet"
    if recipe["fit"]["teachers"]:
        yield "teachers"


def _data(run: Run) -> Iterator[str]:
    split, source = run.recipe["split"], run.recipe["data"]["source"]
    how = _SPLITS[split["method"]].format(**split)
    counts = "" if run.samples is None else _counts(run)
    yield f"Data: {source}{counts}, in {how} (protocol {run.protocol})."
    if split["clean"] == "train":
        yield "Training pictures with an exact or near twin among validation or test pictures were left out."
    balance = run.recipe["balance"]
    if balance["steps"]:
        names = ", ".join(_named(step)[0] for step in balance["steps"])
        when = "before the split" if balance["order"] == "balance-before-split" else "after the split"
        yield f"Training pictures were balanced {when}: {names}."


def _counts(run: Run) -> str:
    assert run.samples is not None
    real = run.samples[run.samples["source"] != "made"]["split"].value_counts()
    train, validation, test = (int(real.get(part, 0)) for part in ("train", "validation", "test"))
    return f" ({train:,} training, {validation:,} validation and {test:,} test pictures)"


def _pictures(recipe: dict[str, Any]) -> Iterator[str]:
    yield f"Each picture went through the steps {'; '.join(map(_step, recipe['chain']))}."
    used = {name: amount for name, amount in recipe["augment"].items() if amount and name != "fill"}
    if used:
        yield "Training pictures were augmented at random: " + ", ".join(f"{k} {v}" for k, v in used.items()) + "."


def _step(step: Any) -> str:
    name, parameters = _named(step)
    told = ", ".join(f"{key} {value}" for key, value in flat(parameters))
    return f"{name} ({told})" if told else name


def _named(step: Any) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a step as recipes write it."""
    if not isinstance(step, dict):
        return str(step), {}
    ((name, parameters),) = step.items()
    return name, parameters if isinstance(parameters, dict) else {}


def _network(run: Run) -> Iterator[str]:
    recipe, fit, model = run.recipe, run.recipe["fit"], run.recipe["model"]
    if triplet := recipe["triplet"]:
        told = ", ".join(f"{key} {value}" for key, value in flat(triplet))
        yield f"A FaceNet embedding was trained with triplets ({told})."
        return
    passed = fit["epochs"] if run.history is None else len(run.history)
    epochs = f"{passed} epochs" if passed == fit["epochs"] else f"{passed} of at most {fit['epochs']} epochs"
    start = f"from {model['weights']} ({model['transfer']})" if model["weights"] else "from random weights"
    yield (
        f"The network {model['backbone']} was trained {start} for {epochs} in batches of "
        f"{fit['batch']} with {fit['optimiser']}, a peak learning rate of {fit['learning_rate']} ({fit['schedule']} "
        f"schedule) and a weight decay of {fit['weight_decay']}, seed {', '.join(map(str, recipe['seeds']))}. "
        f"The epoch with the best {fit['monitor']} on validation pictures was kept."
    )
    parts = {"data": _DATA, "split": ("clean_against",), "fit": _FIT, "evaluate": ("flip",)}
    further = {f"{part}.{key}": recipe[part].get(key) for part, keys in parts.items() for key in keys}
    if used := [f"{key} {value}" for key, value in flat(further) if value not in _UNUSED]:
        yield f"Also set were {', '.join(used)}."


def _figures(run: Run) -> Iterator[str]:
    evaluate, packages = run.recipe["evaluate"], run.environment.get("packages", {})
    yield (
        "Probabilities were calibrated by a temperature fitted on validation pictures. Intervals are 95% bootstrap "
        f"intervals of {evaluate['bootstrap']} resamples, of whole people or sequences where they are named."
    )
    versions = ", ".join(f"{name} {packages[name]}" for name in ("mien", "torch", "onnxruntime") if name in packages)
    if versions:
        yield f"Software: {versions}."
