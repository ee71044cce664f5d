"""Tracking: experiments, runs, what they recorded, and the metric path.

Owns: schema `tracking`. Emits: experiment, run and logged-model events on headrace.tracking.experiments.v1 and
headrace.tracking.runs.v1. Consumes: headrace.tracking.frames.v1, which its own edge writes.
"""
