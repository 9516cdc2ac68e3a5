"""A blend on new images: predictions and an ONNX export."""
