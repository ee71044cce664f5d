"""What all tests share."""

pytest_plugins = ["fix_backends", "fix_platform"]
