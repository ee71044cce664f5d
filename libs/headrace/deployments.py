"""What serves, in which version and since when."""

import time
from itertools import islice

from headrace import errors
from headrace.api.deployment.v1 import deployment_service_pb2 as wire
from headrace.connection import Connection
from headrace.default import of_default
from headrace.records import Deployment, DeploymentChange

_POLL_S = 0.1


class Deployments:
    """The deployments of one Headrace. A name is the model's, with "@alias" behind it unless that is "production"."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> Deployment:
        """One deployment with its instances. Raises NotFound."""
        request = wire.GetDeploymentRequest(name=name)
        return Deployment.of(self._connection.call(lambda c: c.deployments.GetDeployment, request).deployment)

    def list(self) -> tuple[Deployment, ...]:
        """All deployments, in order of name."""
        request = wire.ListDeploymentsRequest(page_size=1_000)
        pages = self._connection.pages(lambda c: c.deployments.ListDeployments, request)
        return tuple(Deployment.of(each) for page in pages for each in page.deployments)

    def history(self, name: str, limit: int = 100) -> tuple[DeploymentChange, ...]:
        """What happened to one deployment, newest first."""
        request = wire.ListDeploymentHistoryRequest(name=name, page_size=min(limit, 1_000))
        pages = self._connection.pages(lambda c: c.deployments.ListDeploymentHistory, request)
        return tuple(DeploymentChange.of(each) for each in islice((e for page in pages for e in page.entries), limit))

    def stop(self, name: str) -> Deployment:
        """Takes a deployment out of service until the next promotion."""
        request = wire.StopDeploymentRequest(name=name)
        return Deployment.of(self._connection.call(lambda c: c.deployments.StopDeployment, request).deployment)

    def wait(self, name: str, version: int | str | None = None, timeout: float = 60.0) -> Deployment:
        """Waits until a deployment serves this version with all its traffic; any wanted version, where none is named.

        A deployment that is not there yet is waited for: promotions take effect in a moment. Raises WrongState when the
        version could not be started, with why; TimedOut after `timeout` seconds, with how it stood then.
        """
        until = time.monotonic() + timeout
        wanted = None if version is None else int(version)
        while True:
            try:
                found = self.get(name)
            except errors.NotFound:
                found = None
            if found is not None and _serves(found, wanted):
                return found
            if time.monotonic() + _POLL_S > until:
                stands = f"it is {found.state}, version {found.serving_version} serves" if found else "there is none"
                raise errors.TimedOut(f"deployment {name} did not serve {wanted or ''} within {timeout:g} s: {stands}")
            time.sleep(_POLL_S)


def _serves(found: Deployment, wanted: int | None) -> bool:
    if found.state == "FAILED" and wanted in {None, found.wanted_version}:
        raise errors.WrongState(
            f"deployment {found.name}: version {found.wanted_version} could not be started: {found.message}"
        )
    version = found.wanted_version if wanted is None else wanted
    return found.state == "SERVING" and found.serving_version == version


get = of_default(Deployments.get, lambda client: client.deployments)
list = of_default(Deployments.list, lambda client: client.deployments)  # noqa: A001 - read as headrace.deployments.list
history = of_default(Deployments.history, lambda client: client.deployments)
stop = of_default(Deployments.stop, lambda client: client.deployments)
wait = of_default(Deployments.wait, lambda client: client.deployments)
