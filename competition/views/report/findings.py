"""The page that shows the findings of `make doctor` with their images."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from competition.checks.doctor import Finding, image_name
from competition.data.dataset import Dataset
from competition.files import write_atomically
from competition.views.html import image_class, image_data_url, render_page
from competition.views.label_text import label_text

PAGE = Path(__file__).parent / "findings.html"
MAX_GROUPS = 60  # groups of images per finding
MAX_GROUP_IMAGES = 6  # images per group


def write_findings(path: Path, competition: str, dataset: Dataset, findings: Sequence[Finding]) -> Path:
    """Write the page and return its path."""
    warnings = sum(not finding.passed for finding in findings)
    count = f'<span class="warn">{warnings} of {len(findings)} checks need a look</span>'
    text = render_page(
        PAGE,
        escape(f"{competition}: data checks"),
        count=count if warnings else f'<span class="good">all {len(findings)} checks passed</span>',
        checks="".join(map(_row, findings)),
        sections="\n".join(_section(dataset, finding) for finding in findings if finding.images),
    )
    write_atomically(path, text.encode())
    return path


def _row(finding: Finding) -> str:
    """A row of the table of checks, linked to the images if there are any."""
    kind, status = ("good", "ok") if finding.passed else ("warn", "warning")
    name, message = escape(finding.check), escape(finding.message)
    link = f'<a href="#{_anchor(finding)}">{name}</a>' if finding.images else name
    return (
        f'<tr role="row"><td role="cell"><span class="badge {kind}">{status}</span></td>'
        f'<th scope="row" role="rowheader">{link}</th><td role="cell">{message}</td></tr>'
    )


def _anchor(finding: Finding) -> str:
    return finding.check.replace(" ", "-")


def _section(dataset: Dataset, finding: Finding) -> str:
    groups = [
        "".join(_image(dataset, image) for image in group[:MAX_GROUP_IMAGES]) for group in finding.images[:MAX_GROUPS]
    ]
    kind = " groups" if any(len(group) > 1 for group in finding.images) else ""
    parts = [
        f'<h2 id="{_anchor(finding)}">{escape(finding.check)}</h2>',
        f"<p>{escape(finding.message)}</p>",
        f'<ul class="gallery{kind}">{"".join(f"<li>{group}</li>" for group in groups)}</ul>',
    ]
    if len(finding.images) > MAX_GROUPS:
        parts.append(f"<p>and {len(finding.images) - MAX_GROUPS} more</p>")
    return "\n".join(parts)


def _image(dataset: Dataset, image: int) -> str:
    rows = len(dataset.labels)
    pixels = dataset.images[image] if image < rows else dataset.test_images[image - rows]
    name = image_name(dataset, image)
    caption = f"row {name}, labelled {label_text(dataset.labels[image], dataset.classes)}" if image < rows else name
    image_element = f'<img src="{image_data_url(pixels)}" alt="image {escape(name)}"'
    image_element += f' class="{image_class(pixels)}" loading="lazy">'
    return f"<figure>{image_element}<figcaption>{escape(caption)}</figcaption></figure>"
