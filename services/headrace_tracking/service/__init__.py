"""TrackingService: translates requests, owns the transactions; a module for each kind of resource."""

from headrace_tracking.service.experiments import ExperimentCalls
from headrace_tracking.service.imports import ImportCalls
from headrace_tracking.service.metrics import MetricCalls
from headrace_tracking.service.models import ModelCalls
from headrace_tracking.service.purges import PurgeCalls
from headrace_tracking.service.runs import RunCalls
from headrace_tracking.service.searches import SearchCalls


class TrackingService(ExperimentCalls, RunCalls, PurgeCalls, SearchCalls, MetricCalls, ModelCalls, ImportCalls):
    """All calls; see `base.Calls` for what it takes."""
