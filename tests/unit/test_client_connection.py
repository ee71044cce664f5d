"""Finding a Headrace, errors as the client sees them, and trying again."""

import os
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry import trace

import headrace as hr
from fake_answers import away, not_found
from fake_headrace import FakeHeadrace, gateway, serving, well_known
from headrace import errors, retry, tracing
from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.connection import Connection
from headrace_kit.errors import CODES, DomainError, InvalidField, reason_text

TRACKING = "headrace.api.tracking.v1.TrackingService"
QUICK = retry.Policy(first_delay_s=0.01, most_delay_s=0.02, patience_s=0.5, first_patience_s=0.2)


@pytest.fixture
def fake() -> Iterator[FakeHeadrace]:
    with serving() as made:
        yield made


def default_experiment(connection: Connection) -> str:
    return connection.call(
        lambda c: c.tracking.GetExperiment, wire.GetExperimentRequest(experiment_id="0")
    ).experiment.name


def test_the_gateway_says_where_services_are(fake: FakeHeadrace) -> None:
    with gateway(lambda: (200, well_known(fake.port, [TRACKING]))) as uri:
        connection = Connection(uri + "/")
        assert default_experiment(connection) == "Default"
        with pytest.raises(errors.Unavailable, match=r"does not say where .*RegistryService is"):
            _ = connection.registry
        connection.close()


def test_an_address_without_a_host_is_on_the_gateways(fake: FakeHeadrace) -> None:
    body = well_known(fake.port, [TRACKING]).replace(b"127.0.0.1:", b":")
    with gateway(lambda: (200, body)) as uri:
        connection = Connection(uri)
        assert default_experiment(connection) == "Default"
        connection.close()


def test_services_are_looked_for_anew_after_they_moved() -> None:
    with serving() as first, serving() as second:
        port = first.port
        with gateway(lambda: (200, well_known(port, [TRACKING]))) as uri:
            connection = Connection(uri, policy=retry.Policy(first_delay_s=0.2, patience_s=10.0))
            assert default_experiment(connection) == "Default"
            first.stop()
            port = second.port
            assert default_experiment(connection) == "Default"
            connection.close()


def test_a_service_that_a_gateway_names_is_waited_for(fake: FakeHeadrace) -> None:
    fake.stop()
    with gateway(lambda: (200, well_known(fake.port, [TRACKING]))) as uri:
        connection = Connection(uri, policy=retry.Policy(first_delay_s=0.01, patience_s=20.0, first_patience_s=0.1))
        back = threading.Timer(0.5, fake.start)
        back.start()
        assert default_experiment(connection) == "Default"
        back.join()
        connection.close()


def test_a_gateway_that_is_starting_is_waited_for(fake: FakeHeadrace) -> None:
    answers = [(503, b""), (503, b""), (200, well_known(fake.port, [TRACKING]))]
    with gateway(lambda: answers.pop(0)) as uri:
        connection = Connection(uri)
        connection.check()
        assert default_experiment(connection) == "Default"
        connection.close()


@pytest.mark.parametrize(
    ("answer", "told"),
    [((404, b""), "404"), ((200, b"<html>"), "is not JSON"), ((200, b"[1]"), 'has no "grpc"'), ((200, b"{}"), "grpc")],
)
def test_what_is_no_headrace_is_told(answer: tuple[int, bytes], told: str) -> None:
    with (
        gateway(lambda: answer) as uri,
        pytest.raises(errors.Unsupported, match="is not the gateway of a Headrace") as e,
    ):
        hr.connect(uri)
    assert told in str(e.value)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "grpc://127.0.0.1:1"])
def test_nobody_there_is_told_soon(uri: str) -> None:
    client = hr.Client(uri, policy=QUICK)
    with pytest.raises(errors.Unavailable, match=f"no Headrace answers at {uri}: start one with `headrace up`"):
        client.start_run(capture=False)
    client.close()


@pytest.mark.parametrize("uri", ["127.0.0.1:8080", "ftp://x:1", "http://", "grpc://localhost"])
def test_a_bad_address_is_told(uri: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        Connection(uri)


def test_the_token_goes_with_every_call(fake: FakeHeadrace) -> None:
    connection = Connection(fake.uri, "hr_secret")
    default_experiment(connection)
    connection.close()
    assert ("authorization", "Bearer hr_secret") in fake.tracking.metadata
    assert "traceparent" not in dict(fake.tracking.metadata)


def test_the_trace_under_way_goes_with_a_call(fake: FakeHeadrace) -> None:
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    connection = Connection(fake.uri)
    with trace.use_span(trace.NonRecordingSpan(context)):
        default_experiment(connection)
    connection.close()
    assert dict(fake.tracking.metadata)["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"


def test_without_a_span_there_is_no_trace() -> None:
    assert tracing.traceparent() == ""


def fails_with(fake: FakeHeadrace, error: DomainError) -> errors.HeadraceError:
    fake.tracking.failures = [error]
    connection = Connection(fake.uri, policy=QUICK)
    try:
        with pytest.raises(errors.HeadraceError) as raised:
            connection.call(lambda c: c.tracking.GetRun, wire.GetRunRequest(), again=False)
    finally:
        connection.close()
    return raised.value


@pytest.mark.parametrize("reason", sorted(CODES))
def test_every_reason_of_the_server_becomes_a_typed_error(fake: FakeHeadrace, reason: int) -> None:
    error = DomainError(reason, "what to do", metadata={"position": "3"})  # type: ignore[arg-type] # an enum's int
    raised = fails_with(fake, error)
    assert type(raised) is not errors.HeadraceError
    assert (raised.reason, raised.message) == (reason_text(error.reason), "what to do")
    assert raised.metadata["position"] == "3"
    known = error_reason_pb2.ERROR_REASON_INTERNAL
    assert isinstance(raised, errors.InternalError) == (reason == known)


def test_fields_and_delays_are_read_from_the_details(fake: FakeHeadrace) -> None:
    invalid = fails_with(fake, InvalidField("tags[3].key", "must have at most 250 characters"))
    assert isinstance(invalid, errors.InvalidRequest)
    assert isinstance(invalid, ValueError)
    assert invalid.violations == (errors.Violation("tags[3].key", "must have at most 250 characters"),)
    busy = fails_with(fake, DomainError(error_reason_pb2.ERROR_REASON_OVERLOADED, "busy", retry_after_s=1.5))
    assert isinstance(busy, errors.Overloaded)
    assert busy.retry_after_s == 1.5


class _Status(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.NOT_FOUND

    def details(self) -> str:
        return "gone"

    def trailing_metadata(self) -> Any:
        return (types.SimpleNamespace(key="grpc-status-details-bin", value=b"\xff not a status"),)


def test_details_that_cannot_be_read_do_not_hide_the_error() -> None:
    error = errors.from_rpc(_Status())
    assert isinstance(error, errors.NotFound)
    assert (str(error), error.reason) == ("gone", "")


def test_reads_are_tried_again_and_unsafe_writes_are_not(fake: FakeHeadrace) -> None:
    connection = Connection(fake.uri, policy=QUICK)
    fake.tracking.failures = [away(), away()]
    assert default_experiment(connection) == "Default"
    fake.tracking.failures = [away(), away()]
    with pytest.raises(errors.Unavailable, match="away"):
        connection.call(lambda c: c.tracking.CreateLoggedModel, wire.CreateLoggedModelRequest(), again=False)
    assert len(fake.tracking.failures) == 1
    fake.tracking.failures = [not_found(error_reason_pb2.ERROR_REASON_RUN_NOT_FOUND, "no run")] * 2
    with pytest.raises(errors.NotFound):
        default_experiment(connection)
    assert len(fake.tracking.failures) == 1
    connection.close()


class Clock:
    """Time that passes when it is slept or worked."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def attempts(clock: Clock, failures: list[tuple[float, errors.HeadraceError]], patience_s: float) -> int:
    """How many attempts until one works; each of the failures takes so long."""
    made = 0

    def attempt() -> int:
        nonlocal made
        made += 1
        if failures:
            lasted, error = failures.pop(0)
            clock.now += lasted
            raise error
        return made

    return retry.call(attempt, patience_s=lambda: patience_s, sleep=clock.sleep, now=lambda: clock.now)


def test_delays_double_up_to_a_limit_and_end_with_patience() -> None:
    clock = Clock()
    with pytest.raises(errors.Unavailable):
        attempts(clock, [(0.0, errors.Unavailable("away"))] * 1_000, 20.0)
    assert 15 < clock.now - 100.0 <= 20.0
    assert clock.slept[0] <= 0.05
    assert max(clock.slept) <= retry.DEFAULT.most_delay_s
    assert all(later >= earlier / 2 for earlier, later in zip(clock.slept, clock.slept[1:], strict=False))


def test_the_server_says_when_to_come_back() -> None:
    clock = Clock()
    assert attempts(clock, [(0.0, errors.Overloaded("busy", retry_after_s=7.0))], 30.0) == 2
    assert clock.slept == [7.0]
    with pytest.raises(errors.Overloaded):
        attempts(clock, [(0.0, errors.Overloaded("full"))], 30.0)


def test_an_attempt_that_lasted_begins_patience_anew() -> None:
    clock = Clock()
    failures: list[tuple[float, errors.HeadraceError]] = [(100.0, errors.Unavailable("cut"))] * 5
    assert attempts(clock, failures, 10.0) == 6


def test_the_default_client_comes_from_the_environment(fake: FakeHeadrace) -> None:
    program = "import headrace as hr; print(hr.get_experiment('0').name, hr.search_experiments()[0].id)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HEADRACE_URI": fake.uri, "HEADRACE_TOKEN": "hr_env"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["Default", "0"]
    assert dict(fake.tracking.metadata)["authorization"] == "Bearer hr_env"
