"""Checks of data, machine and augmentations."""
