"""The first page: what runs here, whether it is well, and how to begin. And what clients and probes ask for."""

import asyncio
import html
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from headrace_gateway.services import DESCRIPTORS, Services

VERSION: Final = metadata.version("headrace")


class Pages:
    """Handlers of the gateway's own pages."""

    def __init__(self, services: Services, public: Mapping[str, str]) -> None:
        self._services = services
        self._public = public

    async def health(self, request: Request) -> Response:
        """200 "OK" when every service serves, else 503 naming those that do not."""
        del request
        states = await self._states()
        away = sorted(name for name, state in states.items() if state != "serving")
        return PlainTextResponse(f"not serving: {', '.join(away)}\n", 503) if away else PlainTextResponse("OK\n")

    async def version(self, request: Request) -> Response:
        """Headrace's version."""
        del request
        return PlainTextResponse(VERSION)

    async def discovery(self, request: Request) -> Response:
        """Where the gRPC services answer."""
        del request
        return JSONResponse({"version": VERSION, "grpc": self._services.directory(self._public)})

    async def first(self, request: Request) -> Response:
        """The page at /."""
        rows = "".join(
            f'<tr><td>{name}</td><td class="{state}">{state}</td></tr>'
            for name, state in (await self._states()).items()
        )
        base = html.escape(str(request.base_url).rstrip("/"))
        page = _PAGE.replace("{rows}", rows).replace("{base}", base).replace("{version}", html.escape(VERSION))
        headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
        return HTMLResponse(page, headers=headers)

    async def _states(self) -> dict[str, str]:
        names = sorted(DESCRIPTORS)
        states = await asyncio.gather(*(self._state(name) for name in names))
        return dict(zip(names, states, strict=True))

    async def _state(self, service: str) -> str:
        stub: Any = health_pb2_grpc.HealthStub(self._services.channel(service))
        request = health_pb2.HealthCheckRequest(service=DESCRIPTORS[service][0].full_name)
        try:
            answer = await stub.Check(request, timeout=2)
        except grpc.aio.AioRpcError:
            return "away"
        return "serving" if answer.status == health_pb2.HealthCheckResponse.SERVING else "not-serving"


_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Headrace</title>
<style>
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #b42318; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2.5rem auto; padding: 0 1rem; }
h1 { margin: 0; font-size: 1.6rem; } h1 small { font-weight: 400; font-size: 1rem; opacity: .65; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
td { border-top: 1px solid var(--line); padding: .35rem .2rem; }
td.serving { color: var(--good); } td.away, td.not-serving { color: var(--bad); }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem; padding: .8rem; font-size: .875rem; }
@media (prefers-color-scheme: dark) { :root { --good: #4ac26b; --bad: #ff8a80; } }
</style>
</head>
<body>
<h1>Headrace <small>{version}</small></h1>
<p>Metrics, files and models from training to what runs on them.</p>
<h2>Services</h2>
<table>{rows}</table>
<h2>Log a run</h2>
<pre>export HEADRACE_URI={base}

import headrace as hr
with hr.start_run(experiment="cookies") as run:
    run.log_params({"sugar": 0.8})
    run.log({"loss": 0.3}, step=1)</pre>
<h2>Ask for runs</h2>
<pre>curl {base}/headrace.api.tracking.v1.TrackingService/SearchRuns \\
  -H 'Content-Type: application/json' -d '{"experimentIds": ["0"]}'</pre>
<h2>Call a deployed model</h2>
<pre>curl {base}/serving/MODEL/invocations \\
  -H 'Content-Type: application/json' -d '{"dataframe_records": [{"x": 1.0}]}'</pre>
</body>
</html>
"""
