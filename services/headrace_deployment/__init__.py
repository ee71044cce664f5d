"""The deployment service: keeps the deployed alias of every model answering requests.

Owns deployments, their instances and history, and the route table (schema `deployment`); the files of models it runs,
and their processes. Emits DeploymentStarted, DeploymentServing, DeploymentFailed and DeploymentStopped on
headrace.deployment.deployments.v1. Consumes ModelVersionPromoted, ModelAliasDeleted and ModelVersionCreated of
headrace.registry.model-versions.v1; fetches files from the artifacts service. Tells routers where to send requests.
"""
