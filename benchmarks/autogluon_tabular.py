"""Train AutoGluon on the pixels or features of a competition and write its submission, to compare it with foldblend.

AutoGluon needs an environment of its own:

    python -m venv autogluon
    autogluon/bin/pip install "autogluon.tabular[lightgbm,catboost,xgboost,fastai]"
    autogluon/bin/python benchmarks/autogluon_tabular.py data/digits 14 autogluon.csv
    make grade FILE=autogluon.csv COMPETITION=digits

For competitions whose pictures are files, `python -m benchmarks export-columns` writes the CSV files that it reads.
"""

import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from autogluon.tabular import TabularPredictor

LABEL = "label"


def main(folder: Path, minutes: float, submission: Path) -> None:
    """Train for so many minutes on two cores, by AutoGluon's preset for the best quality, and predict."""
    train, test = pd.read_csv(folder / "train.csv"), pd.read_csv(folder / "test.csv")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as models:
        predictor = TabularPredictor(LABEL, path=models)
        predictor.fit(train, time_limit=60 * minutes, presets="best_quality", num_cpus=2, num_gpus=0)
        trained = time.monotonic()
        sample = pd.read_csv(folder / "sample_submission.csv")
        sample.iloc[:, 1] = predictor.predict(test).to_numpy()
        predicted = time.monotonic()
        best = predictor.leaderboard().iloc[0]
    sample.to_csv(submission, index=False)
    print(f"trained in {trained - start:.0f} s, predicted in {predicted - trained:.0f} s")
    print(f"best model, by its own validation: {best['model']}, {100 * best['score_val']:.3f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]))
