"""The fields of models and versions that can be searched and ordered by; the grammar is `headrace_kit.search`'s."""

from typing import Final

from headrace_kit.search.tables import Column, Table, integer
from headrace_kit.search.vocabulary import COMMON_PREFIXES, Vocabulary, attribute

_TIMES: Final = {
    **dict.fromkeys(("create_time", "creation_time", "creation_timestamp"), attribute("create_time")),
    **dict.fromkeys(("update_time", "last_updated_timestamp", "timestamp"), attribute("update_time")),
}
MODELS: Final = Vocabulary(
    prefixes=COMMON_PREFIXES,
    attributes={"name": attribute("name"), **_TIMES},
    numeric=frozenset(_TIMES.values()),
)
VERSIONS: Final = Vocabulary(
    prefixes=COMMON_PREFIXES,
    attributes={
        **dict.fromkeys(("name", "model_name"), attribute("name")),
        **dict.fromkeys(("version", "version_number"), attribute("version")),
        **dict.fromkeys(("source", "source_path"), attribute("source")),
        "run_id": attribute("run_id"),
        "model_id": attribute("model_id"),
        "stage": attribute("stage"),
        **_TIMES,
    },
    numeric=frozenset({attribute("version"), *_TIMES.values()}),
)
MODEL_ROWS: Final = Table(
    source="registry.models",
    alias="m",
    id="name",
    columns={
        "name": Column("m.name", "text", 'm.name COLLATE "default"'),
        "create_time": Column("(extract(epoch FROM m.create_time) * 1000)::bigint", "bigint"),
        "update_time": Column("(extract(epoch FROM m.update_time) * 1000)::bigint", "bigint"),
    },
    ties=(("name", False),),
)
VERSION_ROWS: Final = Table(
    source="registry.versions",
    alias="v",
    id="version",
    columns={
        "name": Column("v.model_name", "text", 'v.model_name COLLATE "default"'),
        "version": Column("v.version", "bigint", convert=integer),
        "source": Column("v.source", "text", 'v.source COLLATE "default"'),
        "run_id": Column("v.run_id", "text", 'v.run_id COLLATE "default"'),
        "model_id": Column("v.model_id", "text", 'v.model_id COLLATE "default"'),
        "stage": Column("v.stage", "text", 'v.stage COLLATE "default"'),
        "create_time": Column("(extract(epoch FROM v.create_time) * 1000)::bigint", "bigint"),
        "update_time": Column("(extract(epoch FROM v.update_time) * 1000)::bigint", "bigint"),
    },
    # A version's id is both: these end every row's sort keys.
    ties=(("name", False), ("version", True)),
)
