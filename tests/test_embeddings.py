"""Readouts, retrieval and the map of embeddings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances

from mien.errors import DataError
from mien.evaluation.embeddings import collapsed, draw_map, flatten, precision_at
from mien.training.readouts import READOUTS, nearest_centroid


def clusters(classes: int, each: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(classes), each)
    vectors = np.eye(max(classes, 4))[targets] + rng.normal(0, 0.2, (classes * each, max(classes, 4)))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), targets


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_every_readout_gives_probabilities_and_finds_the_clusters(name: str, classes: int) -> None:
    readout = READOUTS[name](*clusters(classes), classes)
    vectors, targets = clusters(classes, seed=1)
    probabilities = readout(vectors)
    assert probabilities.shape == (len(vectors), classes)
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.argmax(axis=1) == targets).mean() > 0.95


@pytest.mark.parametrize("name", READOUTS)
def test_a_class_without_embeddings_is_an_error_that_names_it(name: str) -> None:
    vectors, targets = clusters(2)
    with pytest.raises(DataError, match=r"none of class \[2\]"):
        READOUTS[name](vectors, targets, 3)


@given(seed=st.integers(0, 500), classes=st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_the_centroid_readout_answers_the_nearest_mean(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(8 * classes, 5)).astype(np.float32)
    targets = np.arange(len(vectors)) % classes
    means = np.stack([vectors[targets == code].mean(axis=0) for code in range(classes)])
    near = np.sort(pairwise_distances(vectors, means), axis=1)
    clear = near[:, 1] - near[:, 0] > 1e-3
    answers = nearest_centroid(vectors, targets, classes)(vectors).argmax(axis=1)
    np.testing.assert_array_equal(answers[clear], pairwise_distances(vectors, means).argmin(axis=1)[clear])


def test_precision_counts_the_neighbours_of_the_same_label() -> None:
    gallery = np.array([[0.0], [1.0], [2.0], [10.0]], np.float32)
    found = precision_at(
        np.array([[0.2], [9.0]], np.float32), np.array([5, 6]), gallery, np.array([5, 6, 5, 6]), ks=(1, 2, 4)
    )
    assert found == {1: 1.0, 2: 0.5, 4: 0.5}


def test_more_neighbours_than_pictures_is_an_error() -> None:
    vectors, targets = clusters(2, each=2)
    with pytest.raises(DataError, match="more neighbours"):
        precision_at(vectors, targets, vectors, targets, ks=(10,))


def test_the_map_keeps_clusters_apart() -> None:
    vectors, targets = clusters(3)
    points = flatten(vectors)
    assert points.shape == (120, 2)
    nearest = np.argsort(pairwise_distances(points), axis=1)[:, 1]
    assert (targets[nearest] == targets).mean() > 0.9


def test_the_drawing_shows_a_sample_with_its_counts(tmp_path) -> None:
    vectors, targets = clusters(3)
    path = draw_map(vectors, targets, ("anger", "fear", "sadness"), tmp_path / "figures" / "embedding.svg", limit=60)
    svg = path.read_text()
    assert svg.startswith("<svg")
    assert svg.count("<circle") == 60 + 3
    assert all(name in svg for name in ("anger", "fear", "sadness", "60 embeddings"))
    again = draw_map(vectors, targets, ("anger", "fear", "sadness"), tmp_path / "again.svg", limit=60)
    assert again.read_text() == svg


@pytest.mark.parametrize("value", [0.0884, 0.0, np.nan, np.inf])
def test_embeddings_that_are_all_alike_or_not_finite_have_no_map(tmp_path, value: float) -> None:
    vectors = np.full((16, 128), value, np.float32)
    vectors[3] *= 1 + 1e-7
    assert collapsed(vectors)
    assert draw_map(vectors, np.arange(16) % 2, ("anger", "fear"), tmp_path / "map.svg") is None
    assert not (tmp_path / "map.svg").exists()
    with pytest.raises(DataError, match="have no map"):
        flatten(vectors)


def test_a_handful_of_pictures_can_be_mapped(tmp_path) -> None:
    vectors, targets = clusters(2, each=3)
    assert draw_map(vectors, targets, ("anger", "fear"), tmp_path / "few.svg").is_file()
