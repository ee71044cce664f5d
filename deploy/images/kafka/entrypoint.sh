#!/bin/sh
# Every KAFKA_SOME_SETTING is some.setting of the server ("__" is an underscore, "___" a dash); CLUSTER_ID, KAFKA_HEAP_OPTS.
set -eu

: "${KAFKA_LOG_DIRS:=/var/lib/kafka/data}"
export KAFKA_LOG_DIRS
settings=/tmp/server.properties
env | grep -E '^KAFKA_' | grep -vE '^KAFKA_([A-Z0-9_]+_)?OPTS=' | while IFS='=' read -r name value; do
  name=$(printf %s "${name#KAFKA_}" | tr '[:upper:]' '[:lower:]' | sed 's/___/-/g; s/__/:/g; s/_/./g; s/:/_/g')
  printf '%s=%s\n' "$name" "$value"
done >"$settings"

kafka() { # the rest of the command line: a class and its arguments
  exec java ${KAFKA_HEAP_OPTS:--Xmx512m} ${KAFKA_OPTS:-} -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties -cp '/opt/kafka/libs/*' "$@"
}

# Once for a volume: another id than the one it has is an error that Kafka explains.
[ -e "$KAFKA_LOG_DIRS/meta.properties" ] ||
  (kafka kafka.tools.StorageTool format --cluster-id "${CLUSTER_ID:-aGVhZHJhY2UtdGVzdC0xMQ}" --config "$settings")
kafka kafka.Kafka "$settings"
