"""The client's half of the metric path: from `run.log` to the acknowledgement of the server.

A point is *accepted* when it is in a run's queue, or in its spool file while the server is away, *durable* when the
server has acknowledged its frame. Between the two, one `Sender` thread per client makes frames of what is queued, and
one `Producer` per run and process keeps them in its `Outbox` and its stream open until every one is acknowledged. What
an ended process left in its `SpoolFile`, `sync` sends in its name.
"""
