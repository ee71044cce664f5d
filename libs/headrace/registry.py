"""Registered models, their versions and the aliases by which they are used."""

import uuid
from collections.abc import Mapping
from contextlib import suppress

from headrace import errors
from headrace.api.registry.v1 import registry_service_pb2 as wire
from headrace.connection import Connection
from headrace.default import of_default
from headrace.records import LoggedModel, ModelVersion, Promotion, RegisteredModel

PRODUCTION = "production"
"""The alias that is meant where none is named."""


class Registry:
    """The registry of one Headrace."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def register_model(
        self,
        model: LoggedModel | str,
        name: str,
        description: str = "",
        tags: Mapping[str, object] | None = None,
    ) -> ModelVersion:
        """Makes the next version under this name from a logged model (or its id); makes the name where it is new.

        Description and tags are the version's. Raises NotFound for an unknown model, WrongState for one that is not READY.
        """
        with suppress(errors.AlreadyExists):  # so is it from the second version on
            self._connection.call(lambda c: c.registry.CreateModel, wire.CreateModelRequest(name=name))
        request = wire.CreateModelVersionRequest(
            model_name=name,
            model_id=model if isinstance(model, str) else model.id,
            description=description,
            tags={key: str(value) for key, value in (tags or {}).items()},
            request_id=str(uuid.uuid4()),
        )
        return ModelVersion.of(self._connection.call(lambda c: c.registry.CreateModelVersion, request).version)

    def promote(self, name: str, version: int | str | ModelVersion, alias: str = PRODUCTION) -> Promotion:
        """Moves an alias to a version; a deployment of it follows by itself (`deployments.wait`).

        Returns when the move is recorded. Pointing it where it points already changes nothing and is no event.
        """
        number = version.version if isinstance(version, ModelVersion) else int(version)
        request = wire.PromoteModelVersionRequest(model_name=name, version=number, alias=alias)
        answer = self._connection.call(lambda c: c.registry.PromoteModelVersion, request)
        return Promotion(ModelVersion.of(answer.version), alias, answer.previous_version or None)

    def get(self, name: str) -> RegisteredModel:
        """One model with its aliases. Raises NotFound."""
        request = wire.GetModelRequest(name=name)
        return RegisteredModel.of(self._connection.call(lambda c: c.registry.GetModel, request).model)

    def list(self, prefix: str = "") -> tuple[RegisteredModel, ...]:
        """The models whose names begin so, in order of name."""
        request = wire.ListModelsRequest(name_prefix=prefix, page_size=1_000)
        pages = self._connection.pages(lambda c: c.registry.ListModels, request)
        return tuple(RegisteredModel.of(each) for page in pages for each in page.models)

    def get_version(self, name: str, version: int | str = PRODUCTION) -> ModelVersion:
        """A version by its number, or by an alias ("latest" is the highest). Raises NotFound."""
        request = wire.GetModelVersionRequest(model_name=name)
        if isinstance(version, int):
            request.version = version
        else:
            request.alias = version
        return ModelVersion.of(self._connection.call(lambda c: c.registry.GetModelVersion, request).version)

    def list_versions(self, name: str = "", *, run_id: str = "") -> tuple[ModelVersion, ...]:
        """The versions of a model, or of all, newest first; only those that came from a run, where one is named."""
        request = wire.ListModelVersionsRequest(model_name=name, run_id=run_id, page_size=1_000)
        pages = self._connection.pages(lambda c: c.registry.ListModelVersions, request)
        return tuple(ModelVersion.of(each) for page in pages for each in page.versions)

    def set_tags(self, name: str, tags: Mapping[str, object], version: int | None = None) -> None:
        """Adds tags to a model, or to one version of it, or changes them."""
        texts = {key: str(value) for key, value in tags.items()}
        if version is None:
            self._connection.call(lambda c: c.registry.SetModelTags, wire.SetModelTagsRequest(name=name, tags=texts))
        else:
            request = wire.SetModelVersionTagsRequest(model_name=name, version=version, tags=texts)
            self._connection.call(lambda c: c.registry.SetModelVersionTags, request)

    def delete_alias(self, name: str, alias: str = PRODUCTION) -> None:
        """Removes an alias. Raises NotFound where there is none."""
        request = wire.DeleteModelAliasRequest(model_name=name, alias=alias)
        self._connection.call(lambda c: c.registry.DeleteModelAlias, request, again=False)


register_model = of_default(Registry.register_model, lambda client: client.registry)
promote = of_default(Registry.promote, lambda client: client.registry)
get = of_default(Registry.get, lambda client: client.registry)
list = of_default(Registry.list, lambda client: client.registry)  # noqa: A001 - read as headrace.registry.list
get_version = of_default(Registry.get_version, lambda client: client.registry)
list_versions = of_default(Registry.list_versions, lambda client: client.registry)
set_tags = of_default(Registry.set_tags, lambda client: client.registry)
delete_alias = of_default(Registry.delete_alias, lambda client: client.registry)
