"""The versions of installed libraries."""

from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version


@cache
def installed_version(library: str) -> str:
    """The version of a library, also if it is installed under another name, such as tensorflow-cpu."""
    try:
        return version(library)
    except PackageNotFoundError:
        distributions = packages_distributions().get(library, [])
        return " ".join(f"{name} {version(name)}" for name in sorted(set(distributions))) or "unknown"
