"""Runs without a server: what was said of one is kept in a `Journal` in the spool folder, and `replay` says it to the server.

A run that is started offline has a journal from its beginning; one whose server was away when it ended has one with its
end alone. The points of both are in spool files beside them (`headrace.ingest`).
"""
