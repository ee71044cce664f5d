"""The version of this client."""

from importlib import metadata


def version() -> str:
    """As it was installed; "0" for a source tree that was not."""
    try:
        return metadata.version("headrace")
    except metadata.PackageNotFoundError:
        return "0"
