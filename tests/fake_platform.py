"""Artifacts, registry, deployments, events and tokens in memory."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from fake_answers import abort, not_found
from headrace.api.artifacts.v1 import artifact_service_pb2 as artifacts_wire
from headrace.api.artifacts.v1 import artifacts_pb2
from headrace.api.common.v1 import error_reason_pb2
from headrace.api.deployment.v1 import deployment_pb2, deployment_service_pb2
from headrace.api.events.v1 import event_service_pb2
from headrace.api.identity.v1 import identity_pb2, identity_service_pb2
from headrace.api.registry.v1 import registry_pb2, registry_service_pb2
from headrace_kit import errors


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


def _owner(owner: artifacts_pb2.Owner) -> str:
    return owner.run_id or owner.model_id
