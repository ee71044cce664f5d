"""MLflow's REST interface, as a client sees it."""

import base64
import io
import json
import os
from typing import Any, BinaryIO, Final
from urllib.parse import urlencode

import urllib3

from headrace import errors

API: Final = "/api/2.0/mlflow/"
_READ_S: Final = 300.0
_CONNECT_S: Final = 10.0
_BUSY: Final = (429, 502, 503, 504)


class Http:
    """One MLflow server; keeps its connections. Credentials come from MLflow's own variables. For any number of threads."""

    def __init__(self, uri: str, *, workspace: str = "", connections: int = 8) -> None:
        self.uri = uri.rstrip("/")
        self._pool = urllib3.PoolManager(
            maxsize=connections,
            block=True,
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
            retries=urllib3.Retry(
                total=6, backoff_factor=0.3, status_forcelist=_BUSY, allowed_methods=None, raise_on_status=False
            ),
            headers=_headers(workspace),
        )

    def version(self) -> str:
        """Which MLflow it is; "?" where it does not say."""
        answer = self._call("GET", "/version")
        return answer.data.decode().strip() if answer.status == 200 and len(answer.data) < 40 else "?"

    def get(self, route: str, **fields: object) -> Any:
        """The answer to a GET; `route` is behind /api/2.0/mlflow/, or whole where it begins with "/"."""
        asked = {name: value for name, value in fields.items() if value not in {"", None}}
        return self._json(self._call("GET", f"{_path(route)}?{urlencode(asked)}" if asked else _path(route)))

    def send(self, verb: str, route: str, **fields: object) -> Any:
        """The answer to a call with a body."""
        body = json.dumps(fields).encode()
        return self._json(self._call(verb, _path(route), body=body, headers={"content-type": "application/json"}))

    def post(self, route: str, **fields: object) -> Any:
        """As `send`."""
        return self.send("POST", route, **fields)

    def open(self, address: str) -> BinaryIO:
        """The bytes behind a path; close it."""
        answer = self._call("GET", address, preload_content=False)
        if answer.status != 200:
            with answer:
                raise _refused(address, answer.status, answer.read())
        answer.auto_close = False
        return io.BufferedReader(answer, 1 << 20)

    def put(self, address: str, body: BinaryIO, size: int) -> None:
        """Stores bytes behind a path."""
        headers = {"content-length": str(size), "content-type": "application/octet-stream"}
        answer = self._call("PUT", address, body=body, headers=headers)
        if answer.status != 200:
            raise _refused(address, answer.status, answer.data)

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()

    def _call(self, verb: str, path: str, **more: Any) -> Any:
        headers = {**self._pool.headers, **more.pop("headers", {})}
        try:
            return self._pool.request(verb, self.uri + path, headers=headers, **more)
        except urllib3.exceptions.HTTPError as error:
            raise errors.Unavailable(f"no MLflow answers at {self.uri}: {error}") from None

    def _json(self, answer: Any) -> Any:
        if answer.status != 200:
            raise _refused(str(answer.url or self.uri), answer.status, answer.data)
        try:
            return json.loads(answer.data)
        except ValueError:
            raise errors.Unsupported(
                f"{self.uri} is no MLflow server: {answer.url} answers with what is not JSON"
            ) from None


def _path(route: str) -> str:
    return route if route.startswith("/") else API + route


def _headers(workspace: str) -> dict[str, str]:
    found = {"x-mlflow-workspace": workspace} if workspace else {}
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        found["authorization"] = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    elif token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        found["authorization"] = f"Bearer {token}"
    return found


def _refused(what: str, status: int, body: bytes) -> errors.HeadraceError:
    """The error of an answer that is none."""
    try:
        told = json.loads(body)
        code, message = str(told["error_code"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        code, message = "", f"{what} answers with status {status}"
    kinds: dict[int, type[errors.HeadraceError]] = {
        400: errors.InvalidRequest,
        401: errors.Unauthenticated,
        403: errors.PermissionDenied,
        404: errors.NotFound,
        409: errors.AlreadyExists,
        429: errors.Overloaded,
        503: errors.Unavailable,
    }
    kind = errors.AlreadyExists if code == "RESOURCE_ALREADY_EXISTS" else kinds.get(status, errors.InternalError)
    return kind(f"MLflow: {message}", reason=code)
