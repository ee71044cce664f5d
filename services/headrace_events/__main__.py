"""`python -m headrace_events`: the event service as a process of its own."""

from headrace_events import app
from headrace_kit import lifecycle

if __name__ == "__main__":
    lifecycle.main("events", app.Config, app.start)
