"""One model as an HTTP server of its own process, which answers as MLflow's scoring server does.

Owns nothing, emits nothing, consumes nothing: it reads one model folder and needs no credentials and no network but
its port. `python -m headrace_serving --help` tells how to run it; a deployment target usually does.
"""
