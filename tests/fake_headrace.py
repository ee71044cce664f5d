"""A Headrace in memory, for tests of the client: as much of the services as they need, and faults on demand.

The real services are in tests/service and tests/e2e; here it matters that the test can lose an acknowledgement or cut a
stream at a chosen place.
"""

import hashlib
import json
import threading
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import zstandard
from google.protobuf import message_factory

from headrace.api.artifacts.v1 import artifact_service_pb2 as artifacts_wire
from headrace.api.artifacts.v1 import artifacts_pb2
from headrace.api.common.v1 import error_reason_pb2
from headrace.api.deployment.v1 import deployment_pb2, deployment_service_pb2
from headrace.api.events.v1 import event_service_pb2
from headrace.api.identity.v1 import identity_pb2, identity_service_pb2
from headrace.api.registry.v1 import registry_pb2, registry_service_pb2
from headrace.api.tracking.v1 import ingest_service_pb2 as ingest_wire
from headrace.api.tracking.v1 import metrics_pb2, tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as tracking_wire
from headrace_kit import errors
from headrace_kit.testing.backends.processes import claimed_port

Points = list[tuple[int, int, float]]


@dataclass
class StreamPlan:
    """What goes wrong on one stream of metrics."""

    cut_after: int | None = None
    """Frames taken before the stream breaks."""
    lose_acks: bool = False
    """Takes frames, acknowledges none."""
    ack_every: int = 1
    refuse: frozenset[int] = frozenset()
    """Seqs of frames that hold something invalid."""
    answer: errors.DomainError | None = None
    """What the stream fails with before it is opened."""
    hold_acks: threading.Event | None = None
    """Takes frames, and acknowledges none before this is set, though it goes on talking."""
    silent: bool = False
    """Neither opened nor ended."""


@dataclass
class FakeIngest:
    """Keeps frames by run and producer as the contract says: in order, each once."""

    plans: Iterator[StreamPlan] = field(default_factory=lambda: iter(()))
    window_bytes: int = 1 << 20
    max_frame_bytes: int = 1 << 20
    max_frame_points: int = 100_000
    faults: list[str] = field(default_factory=list)
    """Breaches of the contract by the client."""
    streams: int = 0

    def __post_init__(self) -> None:
        self.frames: dict[str, dict[bytes, list[metrics_pb2.Frame]]] = defaultdict(lambda: defaultdict(list))
        self._lock = threading.Lock()

    def StreamMetrics(self, request_iterator: Any, context: Any) -> Iterator[ingest_wire.StreamMetricsResponse]:
        with self._lock:
            self.streams += 1
            plan = next(self.plans, StreamPlan())
        if plan.answer is not None:
            abort(context, plan.answer)
        opening = next(request_iterator).open
        kept = self.frames[opening.run_id][opening.producer_id]
        if plan.silent:
            list(request_iterator)
            return
        opened = ingest_wire.StreamOpened(
            applied_seq=len(kept),
            window_bytes=self.window_bytes,
            max_frame_bytes=self.max_frame_bytes,
            max_frame_points=self.max_frame_points,
        )
        yield ingest_wire.StreamMetricsResponse(opened=opened)
        if plan.hold_acks is None:
            yield from self._acks(request_iterator, context, plan, kept)
        else:
            yield from self._late_acks(request_iterator, context, plan.hold_acks, kept)

    def _late_acks(
        self, requests: Any, context: Any, go: threading.Event, kept: list[metrics_pb2.Frame]
    ) -> Iterator[ingest_wire.StreamMetricsResponse]:
        def take() -> None:
            with suppress(grpc.RpcError):
                list(self._acks(requests, context, StreamPlan(lose_acks=True), kept))

        taker = threading.Thread(target=take)
        taker.start()
        while taker.is_alive():
            yield ingest_wire.StreamMetricsResponse(ack=ingest_wire.FrameAck(seq=len(kept) if go.wait(0.01) else 0))
            taker.join(0.01)

    def _acks(
        self, requests: Any, context: Any, plan: StreamPlan, kept: list[metrics_pb2.Frame]
    ) -> Iterator[ingest_wire.StreamMetricsResponse]:
        refused: list[ingest_wire.RefusedFrame] = []
        last = None
        for taken, request in enumerate(requests, 1):
            frame = request.frame
            self._check(frame, last, len(kept))
            last = frame.seq
            if frame.seq == len(kept) + 1:
                kept.append(frame)
            if frame.seq in plan.refuse:
                points = sum(series.count for series in frame.series)
                refused.append(
                    ingest_wire.RefusedFrame(seq=frame.seq, points=points, field="series[0].key", message="is not nice")
                )
            if taken == plan.cut_after:
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut by the test")
            if not plan.lose_acks and taken % plan.ack_every == 0:
                position = metrics_pb2.Position(partition=3, offset=len(kept) - 1)
                yield ingest_wire.StreamMetricsResponse(
                    ack=ingest_wire.FrameAck(seq=frame.seq, position=position, refused=refused)
                )
                refused = []

    def _check(self, frame: metrics_pb2.Frame, last: int | None, kept: int) -> None:
        if last is not None and frame.seq != last + 1:
            self.faults.append(f"frame {frame.seq} after {last}")
        if frame.seq > kept + 1:
            self.faults.append(f"frame {frame.seq}, but {kept} is the last one kept")
        if frame.ByteSize() > self.max_frame_bytes:
            self.faults.append(f"frame {frame.seq} has {frame.ByteSize()} bytes")
        if sum(series.count for series in frame.series) > self.max_frame_points:
            self.faults.append(f"frame {frame.seq} has too many points")

    def points(self, run_id: str) -> dict[str, Points]:
        """Key → its points as (step, ms, value), of all producers of a run, in the order in which they came."""
        found: dict[str, Points] = defaultdict(list)
        for frames in self.frames[run_id].values():
            for frame in frames:
                for key, points in decoded(frame).items():
                    found[key] += points
        return dict(found)


def decoded(frame: metrics_pb2.Frame) -> dict[str, Points]:
    """The points of a frame by key."""
    packed = frame.columns
    if frame.encoding == metrics_pb2.ENCODING_ZSTD:
        packed = zstandard.ZstdDecompressor().decompress(packed)
    columns = metrics_pb2.MetricColumns.FromString(packed)
    step = time = 0
    points: Points = []
    for step_delta, time_delta, value in zip(columns.step_deltas, columns.time_deltas, columns.values, strict=True):
        step, time = step + step_delta, time + time_delta
        points.append((step, time, value))
    found: dict[str, Points] = {}
    for series in frame.series:
        found[series.key], points = points[: series.count], points[series.count :]
    assert not points
    return found


class FakeTracking:
    """Runs and experiments in dicts."""

    def __init__(self) -> None:
        self.experiments = {
            "0": tracking_pb2.Experiment(
                experiment_id="0", name="Default", lifecycle_stage=tracking_pb2.LIFECYCLE_STAGE_ACTIVE
            )
        }
        self.runs: dict[str, tracking_pb2.Run] = {}
        self.models: dict[str, tracking_pb2.LoggedModel] = {}
        self.at_least: list[metrics_pb2.Position] = []
        self.history: list[tuple[int, int, float]] = []
        self.break_once = False
        """Cut the next reading of the history off after its first block."""
        self.failures: list[errors.DomainError] = []
        """The next calls fail so."""
        self.fail_after = -1
        """So many calls are answered, then all fail; -1 for never."""
        self.refused_tags: set[str] = set()
        self.metadata: list[tuple[str, str]] = []

    def _begin(self, context: Any) -> None:
        self.metadata = [tuple(entry) for entry in context.invocation_metadata()]
        if self.failures:
            abort(context, self.failures.pop(0))
        if self.fail_after == 0:
            abort(context, away("gone half-way"))
        self.fail_after = max(-1, self.fail_after - 1)

    def CreateExperiment(self, request: Any, context: Any) -> Any:
        self._begin(context)
        experiment = tracking_pb2.Experiment(
            experiment_id=str(len(self.experiments)),
            name=request.name,
            tags=request.tags,
            lifecycle_stage=tracking_pb2.LIFECYCLE_STAGE_ACTIVE,
        )
        self.experiments[experiment.experiment_id] = experiment
        return tracking_wire.CreateExperimentResponse(experiment=experiment)

    def GetExperiment(self, request: Any, context: Any) -> Any:
        self._begin(context)
        for experiment in self.experiments.values():
            if request.name == experiment.name or request.experiment_id == experiment.experiment_id:
                return tracking_wire.GetExperimentResponse(experiment=experiment)
        abort(context, not_found(error_reason_pb2.ERROR_REASON_EXPERIMENT_NOT_FOUND, "no such experiment"))
        return None

    def SearchExperiments(self, request: Any, context: Any) -> Any:
        self._begin(context)
        return tracking_wire.SearchExperimentsResponse(experiments=self.experiments.values())

    def CreateRun(self, request: Any, context: Any) -> Any:
        self._begin(context)
        run = self.runs.setdefault(
            request.run_id,
            tracking_pb2.Run(
                run_id=request.run_id,
                experiment_id=request.experiment_id,
                name=request.name or "brave-otter-1",
                user_id=request.user_id,
                state=tracking_pb2.Run.STATE_RUNNING,
                start_time=request.start_time,
                tags=request.tags,
                params=request.params,
            ),
        )
        return tracking_wire.CreateRunResponse(run=run)

    def GetRun(self, request: Any, context: Any) -> Any:
        self._begin(context)
        self.at_least = list(request.at_least)
        return tracking_wire.GetRunResponse(run=self._run(request.run_id, context))

    def UpdateRun(self, request: Any, context: Any) -> Any:
        self._begin(context)
        run = self._run(request.run.run_id, context)
        request.update_mask.MergeMessage(request.run, run)
        return tracking_wire.UpdateRunResponse(run=run)

    def SearchRuns(self, request: Any, context: Any) -> Any:
        self._begin(context)
        found = [run for run in self.runs.values() if run.experiment_id in request.experiment_ids]
        start = int(request.page_token or 0)
        page = found[start : start + 2]  # small pages, so that there are several
        more = str(start + 2) if start + 2 < len(found) else ""
        return tracking_wire.SearchRunsResponse(runs=page, next_page_token=more)

    def LogParams(self, request: Any, context: Any) -> Any:
        self._begin(context)
        self._run(request.run_id, context).params.update(request.params)
        return tracking_wire.LogParamsResponse()

    def SetRunTags(self, request: Any, context: Any) -> Any:
        self._begin(context)
        if self.refused_tags & set(request.tags):
            abort(context, errors.InvalidField("tags", "must not be so"))
        self._run(request.run_id, context).tags.update(request.tags)
        return tracking_wire.SetRunTagsResponse()

    def LogInputs(self, request: Any, context: Any) -> Any:
        self._begin(context)
        kept = self._run(request.run_id, context).inputs
        kept.extend(each for each in request.inputs if each not in kept)
        return tracking_wire.LogInputsResponse()

    def ReadMetrics(self, request: Any, context: Any) -> Iterator[Any]:
        self._begin(context)
        for start in range(0, len(self.history), 3):
            if start == 3 and self.break_once:
                self.break_once = False
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut off")
            steps, times, values = zip(*self.history[start : start + 3], strict=True)
            block = metrics_pb2.MetricBlock(
                run_id=request.run_ids[0],
                key=request.keys[0],
                steps=array("q", steps).tobytes(),
                time_ms=array("q", times).tobytes(),
                values=array("d", values).tobytes(),
            )
            yield tracking_wire.ReadMetricsResponse(block=block)

    def CreateLoggedModel(self, request: Any, context: Any) -> Any:
        self._begin(context)
        model = tracking_pb2.LoggedModel(
            model_id=request.model_id,
            name=request.name,
            run_id=request.run_id,
            experiment_id=request.experiment_id,
            model_type=request.model_type,
            state=tracking_pb2.LoggedModel.STATE_PENDING,
            params=request.params,
            tags=request.tags,
        )
        self.models[model.model_id] = model
        return tracking_wire.CreateLoggedModelResponse(model=model)

    def FinalizeLoggedModel(self, request: Any, context: Any) -> Any:
        self._begin(context)
        model = self.models[request.model_id]
        model.state, model.state_message = request.state, request.state_message
        return tracking_wire.FinalizeLoggedModelResponse(model=model)

    def _run(self, run_id: str, context: Any) -> tracking_pb2.Run:
        if run_id not in self.runs:
            abort(context, not_found(error_reason_pb2.ERROR_REASON_RUN_NOT_FOUND, f"no run {run_id}"))
        return self.runs[run_id]


class FakeArtifacts:
    """Files in a dict, by owner and path."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], bytes] = {}
        self.uploads = 0
        self.cut_uploads = 0
        """So many uploads break after a part."""
        self.cut_downloads = 0
        """So many downloads break after a part."""
        self.largest_part = 0
        self.spoil: Callable[[bytes], bytes] = lambda part: part
        """What happens to parts on their way to the client."""

    def UploadArtifact(self, request_iterator: Any, context: Any) -> Any:
        self.uploads += 1
        header = next(request_iterator).header
        data = b""
        for request in request_iterator:
            if request.WhichOneof("message") == "trailer":
                assert request.trailer.size_bytes == len(data)
                assert request.trailer.sha256 == hashlib.sha256(data).digest()
                key = (_owner(header.owner), header.path)
                self.files[key] = data
                return artifacts_wire.UploadArtifactResponse(artifact=self._artifact(key))
            data += request.part
            self.largest_part = max(self.largest_part, len(request.part))
            if self.cut_uploads:
                self.cut_uploads -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut by the test")
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "truncated")
        return None

    def ListArtifacts(self, request: Any, context: Any) -> Any:
        owner = _owner(request.owner)
        below = f"{request.folder}/" if request.folder else ""
        keys = sorted(key for key in self.files if key[0] == owner and key[1].startswith(below))
        return artifacts_wire.ListArtifactsResponse(artifacts=[self._artifact(key) for key in keys])

    def GetArtifact(self, request: Any, context: Any) -> Any:
        key = (_owner(request.path.owner), request.path.path)
        if key not in self.files:
            abort(context, not_found(error_reason_pb2.ERROR_REASON_ARTIFACT_NOT_FOUND, f"no file {key[1]}"))
        return artifacts_wire.GetArtifactResponse(artifact=self._artifact(key))

    def DownloadArtifact(self, request: Any, context: Any) -> Iterator[Any]:
        owner, _, path = request.artifact_id.partition("|")
        data = self.files[owner, path][request.offset :]
        yield artifacts_wire.DownloadArtifactResponse(artifact=self._artifact((owner, path)))
        for start in range(0, len(data), 1000):
            yield artifacts_wire.DownloadArtifactResponse(part=self.spoil(data[start : start + 1000]))
            if self.cut_downloads:
                self.cut_downloads -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut by the test")

    def DeleteArtifact(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    def _artifact(self, key: tuple[str, str]) -> artifacts_pb2.Artifact:
        data = self.files[key]
        return artifacts_pb2.Artifact(
            artifact_id="|".join(key), path=key[1], size_bytes=len(data), sha256=hashlib.sha256(data).digest()
        )


class FakeRegistry:
    """Models and versions in lists."""

    def __init__(self) -> None:
        self.models: dict[str, list[registry_pb2.ModelVersion]] = {}
        self.aliases: dict[tuple[str, str], int] = {}
        self.requests: dict[str, registry_pb2.ModelVersion] = {}

    def CreateModel(self, request: Any, context: Any) -> Any:
        if request.name in self.models:
            abort(context, errors.DomainError(error_reason_pb2.ERROR_REASON_MODEL_EXISTS, "the name is in use"))
        self.models[request.name] = []
        return registry_service_pb2.CreateModelResponse(model=registry_pb2.Model(name=request.name))

    def CreateModelVersion(self, request: Any, context: Any) -> Any:
        if request.request_id not in self.requests:
            versions = self.models[request.model_name]
            version = registry_pb2.ModelVersion(
                model_name=request.model_name,
                version=len(versions) + 1,
                model_id=request.model_id,
                description=request.description,
                tags=request.tags,
                state=registry_pb2.ModelVersion.STATE_READY,
            )
            versions.append(version)
            self.requests[request.request_id] = version
        return registry_service_pb2.CreateModelVersionResponse(version=self.requests[request.request_id])

    def PromoteModelVersion(self, request: Any, context: Any) -> Any:
        key = (request.model_name, request.alias)
        before = self.aliases.get(key, 0)
        self.aliases[key] = request.version
        version = self.models[request.model_name][request.version - 1]
        return registry_service_pb2.PromoteModelVersionResponse(version=version, previous_version=before)

    def GetModel(self, request: Any, context: Any) -> Any:
        if request.name not in self.models:
            abort(context, not_found(error_reason_pb2.ERROR_REASON_MODEL_NOT_FOUND, f"no model {request.name}"))
        return registry_service_pb2.GetModelResponse(model=self._model(request.name))

    def ListModels(self, request: Any, context: Any) -> Any:
        return registry_service_pb2.ListModelsResponse(models=[self._model(name) for name in sorted(self.models)])

    def ListModelVersions(self, request: Any, context: Any) -> Any:
        versions = self.models[request.model_name][::-1]
        return registry_service_pb2.ListModelVersionsResponse(versions=versions)

    def _model(self, name: str) -> registry_pb2.Model:
        aliases = {alias: version for (model, alias), version in self.aliases.items() if model == name}
        return registry_pb2.Model(name=name, aliases=aliases, latest_version=len(self.models[name]))


class FakeDeployments:
    """Answers with the next of a list of states, then with the last again."""

    def __init__(self) -> None:
        self.states: list[deployment_pb2.Deployment] = []

    def GetDeployment(self, request: Any, context: Any) -> Any:
        if not self.states:
            reason = error_reason_pb2.ERROR_REASON_DEPLOYMENT_NOT_FOUND
            abort(context, not_found(reason, f"no deployment {request.name}"))
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return deployment_service_pb2.GetDeploymentResponse(deployment=state)

    def ListDeployments(self, request: Any, context: Any) -> Any:
        return deployment_service_pb2.ListDeploymentsResponse(deployments=self.states)


class FakeEvents:
    """A list of events; a cursor is the number of events before."""

    def __init__(self) -> None:
        self.events: list[event_service_pb2.Event] = []
        self.requests: list[event_service_pb2.SubscribeRequest] = []
        self.cut_after: list[int] = []
        """So many events, then the stream breaks; one number for each stream, those after them hold."""
        self.answer: errors.DomainError | None = None
        self._changed = threading.Condition()

    def publish(self, *events: event_service_pb2.Event) -> None:
        with self._changed:
            self.events += events
            self._changed.notify_all()

    def Subscribe(self, request: Any, context: Any) -> Iterator[Any]:
        self.requests.append(request)
        if self.answer is not None:
            abort(context, self.answer)
        cut = self.cut_after.pop(0) if self.cut_after else -1
        start = getattr(request, "from")
        at = int(request.cursor or (0 if start == event_service_pb2.START_EARLIEST else len(self.events)))
        yield event_service_pb2.SubscribeResponse(cursor=str(at))
        context.add_callback(self._wake)
        while context.is_active():
            if cut == 0:
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut by the test")
            with self._changed:
                if len(self.events) <= at:
                    self._changed.wait(1)
                    continue
                event = self.events[at]
            at += 1
            if not request.types or event.type in request.types:
                cut -= 1
                yield event_service_pb2.SubscribeResponse(event=event, cursor=str(at))

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class FakeIdentity:
    """Tokens in a dict."""

    def __init__(self) -> None:
        self.tokens: dict[str, identity_pb2.Token] = {}

    def CreateToken(self, request: Any, context: Any) -> Any:
        token = identity_pb2.Token(
            token_id=f"t{len(self.tokens)}", name=request.name, role=request.role, expire_time=request.expire_time
        )
        if not request.HasField("expire_time"):
            token.ClearField("expire_time")
        self.tokens[token.token_id] = token
        return identity_service_pb2.CreateTokenResponse(token=token, secret=f"secret of {token.token_id}")

    def ListTokens(self, request: Any, context: Any) -> Any:
        return identity_service_pb2.ListTokensResponse(tokens=self.tokens.values())

    def RevokeToken(self, request: Any, context: Any) -> Any:
        if request.token_id not in self.tokens:
            reason = error_reason_pb2.ERROR_REASON_TOKEN_NOT_FOUND
            abort(context, not_found(reason, f"no token {request.token_id}"))
        self.tokens[request.token_id].revoke_time.GetCurrentTime()
        return identity_service_pb2.RevokeTokenResponse()


class FakeHeadrace:
    """All of them behind one gRPC address, and behind a gateway that tells it."""

    def __init__(self) -> None:
        self.ingest = FakeIngest()
        self.tracking = FakeTracking()
        self.artifacts = FakeArtifacts()
        self.registry = FakeRegistry()
        self.deployments = FakeDeployments()
        self.events = FakeEvents()
        self.identity = FakeIdentity()
        self.port = 0
        self._server: grpc.Server | None = None

    def start(self, port: int = 0) -> None:
        """Serves; at the port it had before, after a stop."""
        server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
        for module, fake in (
            (ingest_wire, self.ingest),
            (tracking_wire, self.tracking),
            (artifacts_wire, self.artifacts),
            (registry_service_pb2, self.registry),
            (deployment_service_pb2, self.deployments),
            (event_service_pb2, self.events),
            (identity_service_pb2, self.identity),
        ):
            (service,) = module.DESCRIPTOR.services_by_name.values()
            server.add_generic_rpc_handlers((handlers(service, fake),))
        self.port = server.add_insecure_port(f"127.0.0.1:{port or self.port}")
        server.start()
        self._server = server

    def stop(self) -> None:
        """Cuts everything."""
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    @property
    def uri(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"


def handlers(service: Any, fake: object) -> grpc.GenericRpcHandler:
    """The methods of a service that the fake has; the others are UNIMPLEMENTED."""
    made = {}
    for method in service.methods:
        if hasattr(fake, method.name):
            make = {
                (False, False): grpc.unary_unary_rpc_method_handler,
                (True, False): grpc.stream_unary_rpc_method_handler,
                (False, True): grpc.unary_stream_rpc_method_handler,
                (True, True): grpc.stream_stream_rpc_method_handler,
            }[method.client_streaming, method.server_streaming]
            request, answer = (message_factory.GetMessageClass(t) for t in (method.input_type, method.output_type))
            made[method.name] = make(
                getattr(fake, method.name),
                request_deserializer=request.FromString,
                response_serializer=answer.SerializeToString,
            )
    return grpc.method_handlers_generic_handler(service.full_name, made)


@contextmanager
def serving() -> Iterator[FakeHeadrace]:
    """One that serves, on a port that stays its own while it is stopped."""
    fake = FakeHeadrace()
    port, claim = claimed_port()
    try:
        fake.start(port)
        yield fake
    finally:
        fake.stop()
        claim.close()


@contextmanager
def gateway(answer: Callable[[], tuple[int, bytes]]) -> Iterator[str]:
    """An HTTP server that answers discovery; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer() if self.path == "/.well-known/headrace" else (404, b"")
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name above
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def well_known(port: int, services: Sequence[str]) -> bytes:
    """What a gateway tells."""
    return json.dumps({"version": "0", "grpc": dict.fromkeys(services, f"127.0.0.1:{port}")}).encode()


def not_found(reason: Any, message: str) -> errors.DomainError:
    return errors.DomainError(reason, message)


def abort(context: Any, error: errors.DomainError) -> None:
    """Ends the call as a service does."""
    status = errors.status_of(error)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(error.code, error.message)


def away(message: str = "away") -> errors.DomainError:
    """A service behind the edge is away."""
    return errors.DomainError(error_reason_pb2.ERROR_REASON_SERVICE_UNAVAILABLE, message)


def _owner(owner: artifacts_pb2.Owner) -> str:
    return owner.run_id or owner.model_id
