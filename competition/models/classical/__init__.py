"""scikit-learn pipelines and their image features."""
