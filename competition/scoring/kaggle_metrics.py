"""Metrics of Kaggle competitions that cannot be inferred from their files."""

import pandas as pd

from competition.data.targets import TargetKind

# Only where another metric than that of `infer_metric` counts.
KAGGLE_METRICS = {
    "aptos2019-blindness-detection": "QWK",
    "dogs-vs-cats-redux-kernels-edition": "log loss",
    "histopathologic-cancer-detection": "AUC",
    "humpback-whale-identification": "MAP@5",
    "plant-pathology-2020-fgvc7": "mean column AUC",
    "plant-pathology-2021-fgvc8": "micro F1",
    "siim-isic-melanoma-classification": "AUC",
    "whale-categorization-playground": "MAP@5",
}


def has_fractions(placeholders: pd.DataFrame) -> bool:
    """Whether the sample submission holds fractions."""
    numbers = placeholders.apply(pd.to_numeric, errors="coerce")
    return bool((numbers % 1 > 0).to_numpy().any())


def infer_metric(competition: str, kind: TargetKind, columns: int, has_fractions: bool) -> str:
    """The metric of a competition on Kaggle, or the usual one for its target and its sample submission.

    `columns` of the sample submission besides the id; `has_fractions` says whether they hold probabilities or numbers.
    """
    if competition in KAGGLE_METRICS:
        return KAGGLE_METRICS[competition]
    if kind == "number":
        return "RMSE"
    if kind == "labels":
        return "mean column AUC" if columns > 1 else "sample F1"
    if columns > 1:
        return "log loss"
    return "AUC" if has_fractions else "accuracy"
