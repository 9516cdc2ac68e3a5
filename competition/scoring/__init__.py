"""Metrics with standard errors, choice of labels for a metric, significance tests and calibration."""
