"""Which of MLflow's stores an address names."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from headrace import errors
from headrace.imports.bringing import Source
from headrace.imports.mlflow.entities import Choice
from headrace.imports.mlflow.http import Http
from headrace.imports.mlflow.stores import Stores


class Mlflow:
    """An MLflow as it was named on the command line; `open` looks at it anew, as often as asked."""

    def __init__(self, address: str, artifacts: str, choice: Choice) -> None:
        self._address = address
        self._stores = Stores(artifacts)
        self._choice = choice
        self._http: Http | None = None
        self._uses: dict[str, tuple[str, ...]] = {}

    def open(self, note: Callable[[str], None]) -> Source:
        """The source behind http://, postgresql:// or sqlite:// addresses, or a folder. `note` hears what it is.

        Raises InvalidRequest for what is none of these, Unavailable where nobody answers, Unsupported for what is no MLflow.
        """
        address, choice, scheme = self._address, self._choice, urlsplit(self._address).scheme
        if scheme in {"http", "https"}:
            from headrace.imports.mlflow.server import Server  # noqa: PLC0415 - only what this source needs

            if self._http is None:
                # One without workspaces must not be asked for one.
                workspace = "" if choice.workspace == Choice().workspace else choice.workspace
                self._http = Http(address, workspace=workspace, connections=choice.connections)
            return Server(self._http, choice, note, self._uses)
        if "://" in address and scheme != "file":
            from headrace.imports.mlflow.database import Database  # noqa: PLC0415 - as above
            from headrace.imports.mlflow.dialects import dialect  # noqa: PLC0415 - as above

            return Database(dialect(address), self._stores, choice, note)
        from headrace.imports.mlflow.files import Files  # noqa: PLC0415 - as above

        folder = _folder(address)
        note(f"the folder {folder}")
        return Files(folder, self._stores, choice)

    def close(self) -> None:
        """Lets go of connections."""
        if self._http is not None:
            self._http.close()


def _folder(address: str) -> Path:
    parts = urlsplit(address)
    folder = Path(unquote(parts.path) if parts.scheme == "file" else address)
    if not folder.is_dir():
        hint = f"; for a SQLite database say sqlite:///{folder}" if folder.is_file() else ""
        raise errors.InvalidRequest(
            f"{address} is no folder{hint}. A source is http://host:port of a server, postgresql://... or sqlite:///... of"
            " its database, or a folder mlruns"
        )
    return folder
