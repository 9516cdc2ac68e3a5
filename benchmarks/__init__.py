"""Benchmarks behind the figures in the docs, run by maintainers."""
