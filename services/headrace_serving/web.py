"""The HTTP side: /ping /health /version /invocations."""

import asyncio
import json
import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from headrace.models import LoadedModel, SchemaError
from headrace_serving.scoring import JSON, BadInput, UnspeakableAnswer, UnsupportedType, answer_of, frame_of

log = logging.getLogger(__name__)

INSTANCE: Final = "x-headrace-instance"
"""Header of every /ping: whoever started the process knows it by it again."""

_MOST_WAITING: Final = 1000  # requests; beyond that each would wait longer than its caller


class Serving:
    """Answers for one model. Predictions run in `threads` threads, so that /ping never waits for one."""

    def __init__(
        self, model: LoadedModel, *, instance_id: str, about: Mapping[str, Any], threads: int, max_body_bytes: int
    ) -> None:
        self._model = model
        self._headers = {INSTANCE: instance_id}
        self._about = about
        self._max_body = max_body_bytes
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._under_way: set[Future[Response]] = set()

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/ping", self._ping),
                Route("/health", self._ping),
                Route("/version", self._version),
                Route("/invocations", self._invocations, methods=["POST"]),
            ]
        )

    @property
    def under_way(self) -> int:
        """Predictions that have not ended."""
        return len(self._under_way)

    async def _ping(self, _request: Request) -> Response:
        return PlainTextResponse("\n", headers=self._headers)

    async def _version(self, _request: Request) -> Response:
        return JSONResponse(dict(self._about), headers=self._headers)

    async def _invocations(self, request: Request) -> Response:
        if self.under_way >= _MOST_WAITING:
            waiting = f"{self.under_way} requests wait already; try again"
            return _refusal(503, "TEMPORARILY_UNAVAILABLE", waiting, {"retry-after": "1"})
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self._max_body:
                return _refusal(413, "BAD_REQUEST", f"the body may have at most {self._max_body} bytes")
        future = self._pool.submit(self._answer, request.headers.get("content-type", ""), bytes(body))
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return await asyncio.wrap_future(future)

    def _answer(self, content_type: str, body: bytes) -> Response:
        try:
            frame = frame_of(content_type, body, self._model.signature)
            return Response(answer_of(self._model.predict(frame)), media_type=JSON)
        except UnsupportedType as error:
            return _refusal(415, "BAD_REQUEST", str(error))
        except (BadInput, SchemaError) as error:
            return _refusal(400, "BAD_REQUEST", str(error))
        except UnspeakableAnswer as error:
            return _refusal(500, "INTERNAL_ERROR", str(error))
        except (TypeError, ValueError) as error:
            # What libraries raise for rows they cannot take: a NaN, an unknown category.
            log.info("the model refused its input", exc_info=error)
            return _refusal(400, "BAD_REQUEST", f"the model refused its input: {error}")
        except Exception as error:
            log.exception("the model failed")
            return _refusal(500, "INTERNAL_ERROR", f"the model failed: {type(error).__name__}: {error}")


def warm_up(model: LoadedModel, example: bytes | None) -> None:
    """Predicts the model's own example once, so that no caller pays for first-time work; raises what that raises."""
    if example is not None:
        answer_of(model.predict(frame_of(JSON, example, model.signature)))


def _refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        json.dumps({"error_code": code, "message": message}).encode(), status, dict(headers or {}), media_type=JSON
    )
