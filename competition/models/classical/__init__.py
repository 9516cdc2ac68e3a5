"""scikit-learn pipelines and the image features that they use."""
