"""Carries the trace under way to the server, where the program uses OpenTelemetry."""

import sys


def traceparent() -> str:
    """The W3C traceparent of the current span; empty where there is none.

    Only looks at an OpenTelemetry that is imported already: a program that has not imported it has no current span.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
