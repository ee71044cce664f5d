"""`python -m headrace_registry`: the registry service as a process of its own."""

from headrace_kit import lifecycle
from headrace_registry import app

if __name__ == "__main__":
    lifecycle.main("registry", app.Config, app.start)
