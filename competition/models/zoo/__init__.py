"""The models: one file each, named after the model."""
