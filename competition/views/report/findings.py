"""The page that shows the findings of `make doctor` with their images."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from competition.checks.doctor import Finding, image_name
from competition.data.dataset import Dataset
from competition.files import write_atomically
from competition.views.html import image_data_url, render_page
from competition.views.labels import label_text

PAGE = Path(__file__).parent / "findings.html"
MAX_GROUPS = 60  # groups of images per finding
MAX_GROUP_IMAGES = 6  # images per group


def write_findings(path: Path, competition: str, dataset: Dataset, findings: Sequence[Finding]) -> Path:
    """Write the page and return its path."""
    sections = "\n".join(_section(dataset, finding) for finding in findings)
    write_atomically(path, render_page(PAGE, escape(f"{competition}: data checks"), sections=sections).encode())
    return path


def _section(dataset: Dataset, finding: Finding) -> str:
    status = "ok" if finding.passed else "warning"
    parts = [f"<h2>{escape(finding.check)}: {status}</h2>", f"<p>{escape(finding.message)}</p>"]
    if finding.images:
        groups = [
            "".join(_image(dataset, image) for image in group[:MAX_GROUP_IMAGES])
            for group in finding.images[:MAX_GROUPS]
        ]
        parts.append(f'<ul class="gallery">{"".join(f"<li>{group}</li>" for group in groups)}</ul>')
    if len(finding.images) > MAX_GROUPS:
        parts.append(f"<p>and {len(finding.images) - MAX_GROUPS} more</p>")
    return "\n".join(parts)


def _image(dataset: Dataset, image: int) -> str:
    rows = len(dataset.labels)
    pixels = dataset.images[image] if image < rows else dataset.test_images[image - rows]
    name = image_name(dataset, image)
    caption = f"row {name}, labelled {label_text(dataset.labels[image], dataset.classes)}" if image < rows else name
    image_element = f'<img src="{image_data_url(pixels)}" alt="image {escape(name)}" loading="lazy">'
    return f"<figure>{image_element}<figcaption>{escape(caption)}</figcaption></figure>"
