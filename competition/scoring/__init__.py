"""Probabilities in, scores with error bars and tests of significance out."""
