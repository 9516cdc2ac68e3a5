"""HTML templates with a common head of light and dark colours, and images as data URLs."""

import base64
from io import BytesIO
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

HEAD = Path(__file__).parent / "head.html"


def render_page(template: Path, title: str, **parts: str) -> str:
    """Fill in a template; `title` and `parts` must be escaped HTML."""
    head = Template(HEAD.read_text(encoding="utf-8")).substitute(title=title)
    return Template(template.read_text(encoding="utf-8")).substitute(head=head, title=title, **parts)


def image_data_url(image: np.ndarray) -> str:
    """Encode an image (height, width, channels) as a PNG data URL."""
    buffer = BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
