"""The client's half of the metric path: from `run.log` to the acknowledgement of the server.

A point is *accepted* when it is in a run's queue, *durable* when the server has acknowledged its frame. Between the
two, one `Sender` thread per client makes frames of what is queued, and one `Producer` per run and process keeps them in
its `Outbox` and its stream open until every one is acknowledged.
"""
