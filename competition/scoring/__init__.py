"""Metrics with standard errors, significance tests and temperature scaling."""
