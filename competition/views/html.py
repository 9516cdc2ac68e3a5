"""HTML templates with a common head and style sheet, tables, and images as data URLs."""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

HEAD, STYLE = Path(__file__).parent / "head.html", Path(__file__).parent / "style.css"
SMALL_SIDE = 48  # images up to this side are enlarged pixel by pixel; larger ones in colour are stored as JPEG


def render_page(template: Path, title: str, **parts: str) -> str:
    """Fill in a template; `title` and `parts` must be escaped HTML."""
    style = STYLE.read_text(encoding="utf-8")
    head = Template(HEAD.read_text(encoding="utf-8")).substitute(title=title, style=style)
    return Template(template.read_text(encoding="utf-8")).substitute(head=head, title=title, **parts)


def image_data_url(image: np.ndarray) -> str:
    """Encode an image (height, width, channels) as a data URL: PNG, or JPEG for larger ones in colour."""
    buffer, (height, width, channels) = BytesIO(), image.shape
    if channels == 3 and max(height, width) > SMALL_SIDE:
        Image.fromarray(image).save(buffer, "JPEG", quality=88, optimize=True)
        kind = "jpeg"
    else:
        Image.fromarray(image[..., 0] if channels == 1 else image).save(buffer, "PNG", optimize=True)
        kind = "png"
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()


def image_class(image: np.ndarray) -> str:
    """The CSS class of an image, which decides how it is enlarged."""
    return "small" if max(image.shape[:2]) <= SMALL_SIDE else "large"


def html_table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table of text, the first cell of each row as its heading, in a frame that scrolls if it is too narrow."""
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for first, *cells in rows
    )
    table = f'<table class="{kind}"><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">{table}</div>'


def figure(chart: str, table: str) -> str:
    """A chart and, folded up, the table of its values."""
    return f"<figure>{chart}<details><summary>values as a table</summary>{table}</details></figure>"
