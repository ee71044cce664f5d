"""`python -m headrace_identity`: the identity service as a process of its own."""

from headrace_identity import app
from headrace_kit import lifecycle

if __name__ == "__main__":
    lifecycle.main("identity", app.Config, app.start)
