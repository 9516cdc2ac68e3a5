"""A blend on new images, an ONNX export, and scripts for Kaggle's machines."""
