"""The pictures on the page of a comparison, out of the data that its runs were made on."""

import logging

import numpy as np
from numpy.typing import NDArray

from mien.data.prepare import prepare
from mien.errors import MienError
from mien.evaluation.report.weighed import Weighed
from mien.imaging.chain import Chain
from mien.recipe import load
from mien.rows import Read, read
from mien.stages import Stages, silent


def pictures(weighed: Weighed, stages: Stages = silent, read: Read = read) -> dict[int, NDArray[np.uint8]]:
    """The pictures of a comparison's galleries, by row, as the first run saw them; rows that a balance made have none.

    Where the data is gone there are none at all, and a warning says why: a page without faces is better than no page.
    """
    rows, predictions = weighed.changed_rows(), weighed.first.predictions
    if not rows or predictions is None:
        return {}
    try:
        recipe = load(weighed.first.folder / "recipe.yaml")
        samples = read(recipe.data)
        prepared = prepare(samples, Chain.parse(recipe.chain), progress=stages("prepare"))
    except MienError as gone:
        logging.getLogger("mien").warning("the page shows the names of pictures only: %s", gone)
        return {}
    place = {image: position for position, image in enumerate(samples.table["image"])}
    named = {row: predictions["image"].iloc[row] for row in rows}
    return {row: np.asarray(prepared.pixels[place[image]]) for row, image in named.items() if image in place}
