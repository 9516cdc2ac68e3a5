"""Optuna searches for hyperparameters, validated on another split."""
