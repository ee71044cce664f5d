"""Full resource names (AIP-122), as they stand in events, audit and logs. Requests use plain ids."""


def tenant(tenant_id: str) -> str:
    """The prefix of everything that a tenant owns."""
    return f"tenants/{tenant_id}"


def tenant_of(name: str) -> str:
    """The tenant that owns the resource of this name. ValueError when it is not a full name."""
    collection, _, rest = name.partition("/")
    if collection != "tenants" or not rest:
        raise ValueError(f"not the full name of a resource: {name!r}")
    return rest.partition("/")[0]


def experiment(tenant_id: str, experiment_id: str) -> str:
    """An experiment."""
    return f"tenants/{tenant_id}/experiments/{experiment_id}"


def run(tenant_id: str, experiment_id: str, run_id: str) -> str:
    """A run."""
    return f"tenants/{tenant_id}/experiments/{experiment_id}/runs/{run_id}"


def logged_model(tenant_id: str, experiment_id: str, model_id: str) -> str:
    """A logged model."""
    return f"tenants/{tenant_id}/experiments/{experiment_id}/models/{model_id}"


def artifact(tenant_id: str, artifact_id: str) -> str:
    """An artifact."""
    return f"tenants/{tenant_id}/artifacts/{artifact_id}"


def model(tenant_id: str, name: str) -> str:
    """A registered model."""
    return f"tenants/{tenant_id}/models/{name}"


def model_version(tenant_id: str, name: str, version: int) -> str:
    """A version of a registered model."""
    return f"tenants/{tenant_id}/models/{name}/versions/{version}"


def deployment(tenant_id: str, name: str) -> str:
    """A deployment."""
    return f"tenants/{tenant_id}/deployments/{name}"
