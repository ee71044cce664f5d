"""Any subset of the services in one process; `headrace up`, `serve`, `migrate` and `topics`.

Owns: nothing. What the CLI of the light client calls when the server extra is installed.
"""
