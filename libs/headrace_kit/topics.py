"""Every topic of the bus, a row each: what lies on it, who writes it, who reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from headrace.api.artifacts.v1 import artifacts_events_pb2
from headrace.api.deployment.v1 import deployment_events_pb2
from headrace.api.registry.v1 import registry_events_pb2
from headrace.api.tracking.v1 import metrics_pb2, tracking_events_pb2
from headrace_kit.bus.dead_letters import letters_of

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic `headrace.<context>.<entities>.v1`."""

    name: str
    messages: tuple[type[Message], ...]
    """What a record's value may be; several are told apart by the header ce_type."""
    key: str
    partitions: int
    retention_s: int
    producer: str
    consumers: tuple[str, ...] = ()
    max_bytes: int = 1 << 20

    @property
    def dead_letters(self) -> str:
        """Where records go that could not be handled."""
        return letters_of(self.name)


FRAMES: Final = Topic(
    name="headrace.tracking.frames.v1",
    messages=(metrics_pb2.FramePack,),
    key="none: the producer chooses the partition by run",
    partitions=4,
    retention_s=3 * _DAY_S,
    producer="tracking edge",
    consumers=("tracking writer",),
)
EXPERIMENTS: Final = Topic(
    name="headrace.tracking.experiments.v1",
    messages=(
        tracking_events_pb2.ExperimentCreated,
        tracking_events_pb2.ExperimentUpdated,
        tracking_events_pb2.ExperimentDeleted,
        tracking_events_pb2.ExperimentRestored,
        tracking_events_pb2.ExperimentPurged,
    ),
    key="experiment name",
    partitions=4,
    retention_s=7 * _DAY_S,
    producer="tracking",
)
RUNS: Final = Topic(
    name="headrace.tracking.runs.v1",
    messages=(
        tracking_events_pb2.RunCreated,
        tracking_events_pb2.RunUpdated,
        tracking_events_pb2.RunEnded,
        tracking_events_pb2.RunDeleted,
        tracking_events_pb2.RunRestored,
        tracking_events_pb2.RunPurged,
        tracking_events_pb2.LoggedModelCreated,
        tracking_events_pb2.LoggedModelFinalized,
        tracking_events_pb2.LoggedModelUpdated,
        tracking_events_pb2.LoggedModelPurged,
    ),
    key="run name, or model name for a logged model",
    partitions=4,
    retention_s=7 * _DAY_S,
    producer="tracking",
    consumers=("artifacts",),
)
ARTIFACTS: Final = Topic(
    name="headrace.artifacts.artifacts.v1",
    messages=(artifacts_events_pb2.ArtifactStored, artifacts_events_pb2.ArtifactDeleted),
    key="artifact name",
    partitions=4,
    retention_s=7 * _DAY_S,
    producer="artifacts",
)
MODELS: Final = Topic(
    name="headrace.registry.models.v1",
    messages=(registry_events_pb2.ModelCreated, registry_events_pb2.ModelUpdated, registry_events_pb2.ModelDeleted),
    key="model name",
    partitions=4,
    retention_s=30 * _DAY_S,
    producer="registry",
    consumers=("registry webhooks",),
)
MODEL_VERSIONS: Final = Topic(
    name="headrace.registry.model-versions.v1",
    messages=(
        registry_events_pb2.ModelVersionCreated,
        registry_events_pb2.ModelVersionUpdated,
        registry_events_pb2.ModelVersionDeleted,
        registry_events_pb2.ModelVersionPromoted,
        registry_events_pb2.ModelAliasDeleted,
    ),
    key="model name, so that promotions of one model stay in order",
    partitions=4,
    retention_s=30 * _DAY_S,
    producer="registry",
    consumers=("deployment", "registry webhooks"),
)
DEPLOYMENTS: Final = Topic(
    name="headrace.deployment.deployments.v1",
    messages=(
        deployment_events_pb2.DeploymentStarted,
        deployment_events_pb2.DeploymentServing,
        deployment_events_pb2.DeploymentFailed,
        deployment_events_pb2.DeploymentStopped,
    ),
    key="deployment name",
    partitions=4,
    retention_s=30 * _DAY_S,
    producer="deployment",
)

TOPICS: Final = (FRAMES, EXPERIMENTS, RUNS, ARTIFACTS, MODELS, MODEL_VERSIONS, DEPLOYMENTS)
EVENT_TOPICS: Final = tuple(topic for topic in TOPICS if topic is not FRAMES)
"""The topics that hold CloudEvents."""

EVENT_TYPES: Final[dict[str, tuple[Topic, type[Message]]]] = {
    message.DESCRIPTOR.full_name: (topic, message) for topic in EVENT_TOPICS for message in topic.messages
}
"""ce_type → its topic and message."""


def partition_counts(topics: Sequence[Topic] = TOPICS) -> dict[str, int]:
    """What `Bus.ensure_topics` takes: topics, all of them unless some are given, and their dead letters."""
    counts = {topic.name: topic.partitions for topic in topics}
    return counts | {topic.dead_letters: 1 for topic in topics if topic.consumers}
