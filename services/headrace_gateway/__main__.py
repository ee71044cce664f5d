"""`python -m headrace_gateway`: the gateway as a process of its own."""

from headrace_gateway import app
from headrace_kit import lifecycle

if __name__ == "__main__":
    lifecycle.main("gateway", app.Config, app.start)
