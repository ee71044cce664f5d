"""The gateway: one HTTP port for people, scripts and callers of models.

Owns: nothing, it has no tables. Emits and consumes: nothing. It translates:
`/headrace.api.*` is the Connect protocol's unary form of every public method, `/serving/<deployment>/*` goes to the
process that serves the deployment, `/.well-known/headrace` tells clients where the gRPC services answer.
"""
