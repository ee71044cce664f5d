"""MLflow's REST interface, translated: what its unmodified client sends becomes calls of Headrace's services.

`table.py` is the whole of it at a glance: each route with the RPCs that it stands for, and so with who may call it.
`door.py` receives, `wire.py` reads and writes MLflow's JSON, `failures.py` says errors in its words. The other modules
hold the handlers, a module a kind of resource: a request in, RPCs, an answer as JSON.
"""
