"""How much of FER2013's labels ten annotators tell, and what a bundle knows beside them.

    python benchmarks/votes.py ROOT         ROOT holds fer2013.csv and fer2013new.csv

Gradient boosting takes the votes of FERPlus to FER2013's label, fitted on the training rows; a logistic regression,
fitted on PublicTest, joins its guess and the answers of the bundle `fer2013`.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

import mien
from mien.data.sources import catalog

VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")


def main(root: Path) -> None:
    samples = catalog.load("fer2013", root)
    part, labels = samples.table["split"].to_numpy(str), np.array(samples.labels)
    truth = np.searchsorted(labels, samples.table["label"].to_numpy(str))
    votes = pd.read_csv(root / "fer2013new.csv")[list(VOTES)].to_numpy(float)
    shares = votes / votes.sum(axis=1, keepdims=True)
    majority = votes[:, [VOTES.index(label) for label in labels]].argmax(axis=1)

    train = part == "train"
    guess = HistGradientBoostingClassifier(max_iter=200, learning_rate=0.05, early_stopping=False, random_state=0)
    guessed = guess.fit(shares[train], truth[train]).predict_proba(shares)

    held_out = np.flatnonzero(~train)
    recognizer = mien.load("fer2013", crop="whole")
    assert recognizer.labels == tuple(labels)
    pixels = [samples.reader.read(image) for image in samples.table["image"].iloc[held_out]]
    seen = np.zeros((len(truth), len(labels)))
    seen[held_out] = recognizer.probabilities(pixels)

    public = part == "validation"
    both = np.log(np.concatenate([guessed, seen], axis=1).clip(1e-6))
    joined = LogisticRegression(C=0.1, max_iter=3000).fit(both[public], truth[public])
    for name, answers in (
        ("the majority of ten votes", majority),
        ("the best guess from ten votes", guessed.argmax(axis=1)),
        ("fer2013, from the picture", seen.argmax(axis=1)),
        ("the last two, joined on PublicTest", joined.predict(both)),
    ):
        right = {each: (answers == truth)[part == each].mean() for each in ("validation", "test")}
        print(f"{name:38} PublicTest {right['validation']:.1%}  PrivateTest {right['test']:.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="a folder with fer2013.csv and fer2013new.csv")
    main(parser.parse_args().root)
