"""Collect the pages of the documentation for the site generator: `python -m docs.site`.

The README is the site's first page. Links to files that are not pages lead to the repository, if the environment
variable SOURCE_URL names where its files are shown; otherwise only their text is kept.
"""

import os
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "site" / "pages"
MOVED = {  # pages that have another place on the site than in the repository
    "README.md": "index.md",
    "docs/README.md": "contents.md",
    "CONTRIBUTING.md": "design/contributing.md",
    "CHANGELOG.md": "design/changelog.md",
    "SECURITY.md": "design/security.md",
}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
CODE_BLOCK = re.compile(r"(^```.*?^```$)", re.M | re.S)


def site_pages() -> dict[Path, Path]:
    """The files of the site by their place in the repository, both as relative paths."""
    docs = (path for suffix in ("md", "png", "svg", "css") for path in (ROOT / "docs").rglob(f"*.{suffix}"))
    files = [*ROOT.glob("*.md"), *docs]
    sources = sorted(path.relative_to(ROOT) for path in files)
    return {
        source: Path(MOVED.get(str(source), source.relative_to("docs") if "docs" in source.parts else source))
        for source in sources
    }


def rewrite_links(text: str, source: Path, pages: dict[Path, Path], source_url: str = "") -> str:
    """The text of a page with its links adapted to the site."""

    def rewrite(match: re.Match[str]) -> str:
        mark, label, target, anchor = match[1], match[2], match[3], match[4] or ""
        if not target:
            return match[0]
        path = Path(os.path.normpath(source.parent / target))
        if path in pages:
            relative = os.path.relpath(pages[path], pages[source].parent)
            return f"{mark}[{label}]({relative}{anchor})"
        return f"[{label}]({source_url}/{path}{anchor})" if source_url else label

    parts = CODE_BLOCK.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(rewrite, part) for part in parts)


def collect(target: Path, source_url: str = "") -> None:
    """Write the pages to `target`, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    pages = site_pages()
    for source, page in pages.items():
        path = target / page
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            path.write_text(rewrite_links((ROOT / source).read_text(), source, pages, source_url))
        else:
            shutil.copy(ROOT / source, path)


if __name__ == "__main__":
    collect(PAGES, os.environ.get("SOURCE_URL", ""))
