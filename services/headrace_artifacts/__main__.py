"""`python -m headrace_artifacts`: the artifacts service as a process of its own."""

from headrace_artifacts import app
from headrace_kit import lifecycle

if __name__ == "__main__":
    lifecycle.main("artifacts", app.Config, app.start)
