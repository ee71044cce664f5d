"""Which of MLflow's stores an address names."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from headrace import errors
from headrace.imports.bringing import Source
from headrace.imports.mlflow.entities import Choice
from headrace.imports.mlflow.http import Http
from headrace.imports.mlflow.stores import Stores


def opened(address: str, artifacts: str, choice: Choice, note: Callable[[str], None]) -> Source:
    """The source behind http://, postgresql:// or sqlite:// addresses, or a folder. `note` hears what it is.

    Raises InvalidRequest for what is none of these, Unavailable where nobody answers, Unsupported for what is no MLflow.
    """
    scheme = urlsplit(address).scheme
    stores = Stores(artifacts)
    if scheme in {"http", "https"}:
        from headrace.imports.mlflow.server import Server  # noqa: PLC0415 - only what this source needs

        return Server(Http(address, workspace=_named(choice), connections=choice.connections), choice, note)
    if "://" in address and scheme != "file":
        from headrace.imports.mlflow.database import Database  # noqa: PLC0415 - as above
        from headrace.imports.mlflow.dialects import dialect  # noqa: PLC0415 - as above

        return Database(dialect(address), stores, choice, note)
    from headrace.imports.mlflow.files import Files  # noqa: PLC0415 - as above

    folder = Path(unquote(urlsplit(address).path) if scheme == "file" else address)
    if not folder.is_dir():
        hint = f"; for a SQLite database say sqlite:///{folder}" if folder.is_file() else ""
        raise errors.InvalidRequest(
            f"{address} is no folder{hint}. A source is http://host:port of a server, postgresql://... or sqlite:///... of"
            " its database, or a folder mlruns"
        )
    note(f"the folder {folder}")
    return Files(folder, stores, choice)


def _named(choice: Choice) -> str:
    """The workspace to ask a server for; one without workspaces must not be asked."""
    return "" if choice.workspace == Choice().workspace else choice.workspace
