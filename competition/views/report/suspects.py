"""The page of the images that may spoil a competition."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from competition.checks.doctor import Finding, Group, image_name
from competition.data.dataset import Dataset
from competition.files import write_whole
from competition.views.html import page, picture

PAGE = Path(__file__).parent / "suspects.html"
MOST = 60  # groups of images of each kind
MOST_TOGETHER = 6  # images of a group


def write(path: Path, competition: str, dataset: Dataset, found: Sequence[Finding]) -> Path:
    """Write the page of these findings."""
    sections = "\n".join(_section(dataset, finding) for finding in found)
    write_whole(path, page(PAGE, escape(f"{competition}: what to look at"), sections=sections).encode())
    return path


def _section(dataset: Dataset, finding: Finding) -> str:
    verdict = "fine" if finding.is_fine else "look"
    parts = [f"<h2>{escape(finding.what)}: {verdict}</h2>", f"<p>{escape(finding.told)}</p>"]
    if finding.shown:
        groups = "".join(f"<li>{_group(dataset, group)}</li>" for group in finding.shown[:MOST])
        parts.append(f'<ul class="gallery">{groups}</ul>')
    if len(finding.shown) > MOST:
        parts.append(f"<p>and {len(finding.shown) - MOST} more</p>")
    return "\n".join(parts)


def _group(dataset: Dataset, group: Group) -> str:
    return "".join(_image(dataset, image) for image in group[:MOST_TOGETHER])


def _image(dataset: Dataset, image: int) -> str:
    rows = len(dataset.labels)
    pixels = dataset.images[image] if image < rows else dataset.test_images[image - rows]
    label = f", labelled {dataset.classes[dataset.labels[image]]}" if image < rows else ""
    number = escape(image_name(dataset, image))
    told = f"row {number}{escape(label)}"
    shown = f'<img src="{picture(pixels)}" alt="image {number}" loading="lazy">'
    return f"<figure>{shown}<figcaption>{told}</figcaption></figure>"
