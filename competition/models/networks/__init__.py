"""Keras networks: recipes, layers, augmentation and the training loop."""
