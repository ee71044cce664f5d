"""The folder of a model: its MLmodel file and the files that tell its environment and show an example."""

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pandas as pd
import yaml

from headrace.models.errors import ModelFormatError
from headrace.models.signature import Signature

FILE: Final = "MLmodel"
_EXAMPLE: Final = "input_example.json"
_SERVING_EXAMPLE: Final = "serving_input_example.json"
_EXAMPLE_ROWS: Final = 5
_EXAMPLE_INFO: Final = {
    "artifact_path": _EXAMPLE,
    "pandas_orient": "split",
    "serving_input_path": _SERVING_EXAMPLE,
    "type": "dataframe",
}


@dataclass(frozen=True, kw_only=True)
class MlModel:
    """What the MLmodel file says."""

    flavors: Mapping[str, Mapping[str, Any]]
    """Ways to load it, by name, with the fields of each."""
    signature: Signature | None
    model_uuid: str = field(default_factory=lambda: uuid4().hex)
    utc_time_created: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"))
    headrace_version: str = field(default_factory=lambda: metadata.version("headrace"))
    saved_input_example_info: Mapping[str, Any] | None = None

    def write(self, folder: Path) -> None:
        """Writes the file."""
        text = {
            "artifact_path": "model",
            "flavors": {name: dict(fields) for name, fields in self.flavors.items()},
            "headrace_version": self.headrace_version,
            "model_uuid": self.model_uuid,
            "saved_input_example_info": self.saved_input_example_info,
            "signature": None if self.signature is None else self.signature.to_dict(),
            "utc_time_created": self.utc_time_created,
        }
        (folder / FILE).write_text(yaml.safe_dump({k: v for k, v in text.items() if v is not None}), "utf-8")

    @classmethod
    def read(cls, folder: Path) -> "MlModel":
        """The inverse of `write`. Raises ModelFormatError where the folder is no model."""
        try:
            fields = yaml.safe_load((folder / FILE).read_text("utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ModelFormatError(f"{FILE} cannot be read: {error}") from error
        if not isinstance(fields, dict):
            raise ModelFormatError(f"{FILE}: must be a mapping, got {type(fields).__name__}")
        flavors, signature = fields.get("flavors"), fields.get("signature")
        if not isinstance(flavors, dict) or not all(isinstance(flavor, dict) for flavor in flavors.values()):
            raise ModelFormatError(f"{FILE}: flavors must be a mapping of mappings, got {flavors!r}")
        if signature is not None and not isinstance(signature, dict):
            raise ModelFormatError(f"{FILE}: signature must be a mapping, got {signature!r}")
        return cls(
            flavors=flavors,
            signature=None if signature is None else Signature.from_dict(signature),
            model_uuid=str(fields.get("model_uuid", "")),
            utc_time_created=str(fields.get("utc_time_created", "")),
            headrace_version=str(fields.get("headrace_version", "")),
            saved_input_example_info=fields.get("saved_input_example_info"),
        )


def file_in(folder: Path, name: object, field_name: str) -> Path:
    """A file that MLmodel names, which must lie inside its folder. Raises ModelFormatError otherwise."""
    if not isinstance(name, str) or not name:
        raise ModelFormatError(f"{FILE}: {field_name} must name a file, got {name!r}")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise ModelFormatError(f"{FILE}: {field_name} names {name!r}, which is no file of this model")
    return path


def folder_in(folder: Path, name: object, field_name: str) -> Path:
    """As `file_in`, a folder."""
    path = (folder / str(name)).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_dir():
        raise ModelFormatError(f"{FILE}: {field_name} names {name!r}, which is no folder of this model")
    return path


def new_folder(folder: Path) -> None:
    """Makes the folder; FileExistsError when something is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; save a model into a folder of its own")


def write_environment(folder: Path, packages: Iterable[str], requirements: Iterable[str]) -> None:
    """requirements.txt with the installed versions of `packages` and with `requirements` as they are, and its frame."""
    pinned = [f"{package}=={metadata.version(package.partition('[')[0])}" for package in packages]
    (folder / "requirements.txt").write_text("\n".join([*pinned, *requirements]) + "\n", "utf-8")
    environment = {
        "python": platform.python_version(),
        "build_dependencies": [],
        "dependencies": ["-r requirements.txt"],
    }
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment, sort_keys=False), "utf-8")


def write_example(folder: Path, example: pd.DataFrame) -> Mapping[str, Any]:
    """The first rows as MLflow writes them, alone and as a request; returns what MLmodel says of them."""
    split = json.loads(example.head(_EXAMPLE_ROWS).to_json(orient="split", index=False, date_format="iso"))
    (folder / _EXAMPLE).write_text(json.dumps(split), "utf-8")
    (folder / _SERVING_EXAMPLE).write_text(json.dumps({"dataframe_split": split}, indent=2), "utf-8")
    return _EXAMPLE_INFO


def python_function(**fields: Any) -> dict[str, Any]:
    """The flavor that any reader of the layout can call: our loader, and the fields it goes by."""
    return {
        "loader_module": "headrace.models.pyfunc",
        "python_version": platform.python_version(),
        "env": {"virtualenv": "python_env.yaml"},
        **fields,
    }
