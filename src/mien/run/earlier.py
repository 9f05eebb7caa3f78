"""Earlier runs whose networks a new one meets: to judge, to learn from, or to start from."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import RunError
from mien.files import read_json
from mien.imaging.chain import Chain
from mien.places import check_finished
from mien.recipe import Recipe, run_of
from mien.recipe import load as load_recipe
from mien.run.inherited import is_run
from mien.runtime import bundle
from mien.training.backbones import Classifier, build, trained_state, weights_file
from mien.training.embedding import restored_embedding


def restored(folder: Path, classes: int) -> tuple[Recipe, nn.Module]:
    """A finished run's recipe and its network, best on validation.

    Raises RunError when the run is not finished, or was made with a backbone that has another shape now.
    """
    recipe = load_recipe(folder / "recipe.yaml")
    chain = Chain.parse(recipe.chain)
    assert chain.size is not None and chain.channels is not None
    if recipe.triplet:
        return recipe, restored_embedding(trained_state(folder), chain.channels, recipe.triplet).eval()
    start = recipe.model.model_copy(update={"transfer": "scratch", "weights": None})
    network = build(start, chain.channels, chain.size, classes)
    try:
        network.load_state_dict(trained_state(folder))
    except RuntimeError as reason:
        raise RunError(
            f"the weights of {folder} do not fit {recipe.model.backbone} as this mien builds it",
            then="train it again, or open it with the mien that made it",
        ) from reason
    return recipe, network.eval()


class Answering(nn.Module):
    """The network of a bundle, to be asked, not trained: pictures (N, C, H, W) float to logits (N, classes)."""

    def __init__(self, known: bundle.Bundle) -> None:
        super().__init__()
        self.known = known

    def forward(self, x: Tensor) -> Tensor:
        logits = self.known.session.run([bundle.OUTPUT], {bundle.INPUT: x.float().contiguous().cpu().numpy()})[0]
        return torch.from_numpy(logits).to(x.device)


class AtSize(nn.Module):
    """A network that is asked at its own size, to which pictures (N, C, H, W) of others are resized."""

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != self.size:
            x = functional.interpolate(x, size=self.size, mode="bilinear", antialias=True)
        return self.network(x)


def check(recipe: Recipe) -> None:
    """Raise RunError or BundleError where the weights or the teachers of a recipe are not there.

    A run whose folder a fit starts from must be finished. A bundle or a run that a fit starts from must also take what
    the chain makes, up to the size; of a run's network, the first layer may be made for the other number of channels.
    """
    weights, ours = recipe.model.weights, Chain.parse(recipe.chain)
    if weights and bundle.means_bundle(weights):
        theirs = bundle.load(weights).chain
        fits = (theirs.channels, theirs.normalise) == (ours.channels, ours.normalise)
    elif weights and weights != "hub":
        weights_file(Path(weights))
        if is_run(Path(weights)):
            check_finished(Path(weights), "the earlier run ")
        start = run_of(Path(weights))
        theirs = Chain.parse(load_recipe(start / "recipe.yaml").chain) if start and is_run(start) else ours
        fits = _scaled_alike(theirs, ours)
    else:
        theirs, fits = ours, True
    if not fits:
        raise RunError(
            f"{weights} takes other pictures than the chain makes", got=ours.as_list(), allowed=theirs.as_list(),
            then="use its chain; another size is fine",
        )  # fmt: skip
    for run in recipe.fit.teachers:
        if bundle.means_bundle(run):
            bundle.load(run)
        else:
            check_finished(Path(run), "the teacher ")


def _scaled_alike(theirs: Chain, ours: Chain) -> bool:
    """Whether both chains normalise alike, grey pictures as each channel of colour ones.

    What has a scale of its own for each channel is no other than any that grey pictures can have.
    """
    if theirs.channels == ours.channels:
        return theirs.normalise == ours.normalise
    known, made = ({*zip(each.normalise.mean, each.normalise.std, strict=True)} for each in (theirs, ours))
    return known == made or len(known) > 1


@torch.no_grad()
def fill_output(network: Classifier, run: Path, labels: Sequence[str]) -> None:
    """Fill the last layer of a network with what an earlier run of the same network knows of `labels`, by name.

    A head of other hidden layers than the run's stays as it is.
    """
    hidden = tuple(layer.out_features for layer in network.head if isinstance(layer, nn.Linear))[:-1]
    theirs, state = read_json(run / "metrics.json")["test"]["labels"], trained_state(run)
    own = network.head[-1].state_dict(keep_vars=True)
    kept = {part: state.get(f"{network.output}.{part}", torch.empty(0)) for part in own}
    fits = all(kept[part].shape == (len(theirs), *own[part].shape[1:]) for part in own)
    if not fits or load_recipe(run / "recipe.yaml").model.head != hidden:
        return
    for place, label in enumerate(labels):
        for part in own if label in theirs else ():
            own[part][place] = kept[part][theirs.index(label)]


def teacher(run: str, recipe: Recipe, labels: tuple[str, ...]) -> nn.Module:
    """The network of an earlier run, or of a bundle, that can teach this one, at its own size.

    Raises RunError when classes or chains differ, and as `check` does.
    """
    if bundle.means_bundle(run):
        known = bundle.load(run, threads=torch.get_num_threads())
        size = _alike(run, known.info.labels, known.chain, recipe, labels)
        return AtSize(Answering(known), size)
    folder = Path(run)
    theirs = tuple(read_json(folder / "metrics.json")["test"]["labels"])
    size = _alike(run, theirs, Chain.parse(load_recipe(folder / "recipe.yaml").chain), recipe, labels)
    return AtSize(restored(folder, len(labels))[1], size)


def _alike(run: str, theirs: tuple[str, ...], chain: Chain, recipe: Recipe, labels: tuple[str, ...]) -> tuple[int, int]:
    """The size that a teacher and the run share, beside labels and chain. Raises RunError where they do not."""
    if theirs != labels:
        raise RunError(f"the teacher {run} knows other classes", got=theirs, allowed=labels)
    if chain.digest != Chain.parse(recipe.chain).digest:
        raise RunError(f"the teacher {run} has another chain", got=chain.as_list(), allowed=recipe.chain)
    assert chain.size is not None
    return chain.size
