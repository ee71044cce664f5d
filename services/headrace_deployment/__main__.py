"""`python -m headrace_deployment`: the deployment service as a process of its own."""

from headrace_deployment import app
from headrace_kit import lifecycle

if __name__ == "__main__":
    lifecycle.main("deployment", app.Config, app.start)
