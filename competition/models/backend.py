"""The backend of Keras, found without importing Keras."""

import json
import os
from functools import cache
from pathlib import Path


@cache
def keras_backend() -> str:
    """Name of the backend that Keras would use, determined in the same way but without importing Keras."""
    if backend := os.environ.get("KERAS_BACKEND"):
        return backend
    config_path = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "keras.json"
    if not config_path.exists():
        return "tensorflow"
    try:
        return str(json.loads(config_path.read_text()).get("backend", "tensorflow"))
    except ValueError:  # Keras ignores a damaged file, too
        return "tensorflow"
