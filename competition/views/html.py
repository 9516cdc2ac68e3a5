"""What all pages share: their head, with colours for light and dark, and how parts are put into them."""

import base64
from io import BytesIO
from pathlib import Path
from string import Template

import numpy as np

HEAD = Path(__file__).parent / "head.html"


def page(template: Path, title: str, **parts: str) -> str:
    """The template with its head and parts, which are HTML already."""
    head = Template(HEAD.read_text(encoding="utf-8")).substitute(title=title)
    return Template(template.read_text(encoding="utf-8")).substitute(head=head, title=title, **parts)


def picture(image: np.ndarray) -> str:
    """An image as a PNG within a data address."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
