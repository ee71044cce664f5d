"""`python -m headrace_tracking`: the tracking service as a process of its own."""

from headrace_kit import lifecycle
from headrace_tracking import app

if __name__ == "__main__":
    lifecycle.main("tracking", app.Config, app.start)
