"""The fields that runs, experiments and logged models have, under all their names."""

from typing import Final

from headrace_kit.search.tree import Field, Kind
from headrace_kit.search.vocabulary import COMMON_PREFIXES, Vocabulary, attribute

RUN_NAME_TAG: Final = "mlflow.runName"
RUNS: Final = Vocabulary(
    prefixes={
        **COMMON_PREFIXES,
        "run": Kind.ATTRIBUTE,
        **dict.fromkeys(("metrics", "metric"), Kind.METRIC),
        **dict.fromkeys(("params", "param", "parameters", "parameter"), Kind.PARAM),
        **dict.fromkeys(("datasets", "dataset"), Kind.DATASET),
    },
    attributes={
        **dict.fromkeys(("run_id", "run_uuid"), attribute("run_id")),
        **dict.fromkeys(("run_name", "name"), Field(Kind.TAG, RUN_NAME_TAG)),
        **dict.fromkeys(("user_id", "user"), attribute("user_id")),
        **dict.fromkeys(("status", "state"), attribute("status")),
        **dict.fromkeys(("start_time", "created"), attribute("start_time")),
        "end_time": attribute("end_time"),
    },
    numeric=frozenset({attribute("start_time"), attribute("end_time")}),
)
EXPERIMENTS: Final = Vocabulary(
    prefixes={**COMMON_PREFIXES, "experiment": Kind.ATTRIBUTE},
    attributes={
        "experiment_id": attribute("experiment_id"),
        "name": attribute("name"),
        **dict.fromkeys(("create_time", "creation_time", "created"), attribute("create_time")),
        **dict.fromkeys(("update_time", "last_update_time"), attribute("update_time")),
    },
    numeric=frozenset({attribute("create_time"), attribute("update_time")}),
)
LOGGED_MODELS: Final = Vocabulary(
    prefixes={
        **COMMON_PREFIXES,
        **dict.fromkeys(("metrics", "metric"), Kind.METRIC),
        **dict.fromkeys(("params", "param", "parameters", "parameter"), Kind.PARAM),
    },
    attributes={
        **{name: attribute(name) for name in ("name", "model_id", "model_type", "status")},
        **dict.fromkeys(("run_id", "source_run_id"), attribute("run_id")),
        **dict.fromkeys(("create_time", "creation_time", "creation_timestamp", "created"), attribute("create_time")),
        **dict.fromkeys(("update_time", "last_updated_timestamp"), attribute("update_time")),
    },
    numeric=frozenset({attribute("create_time"), attribute("update_time")}),
)
