"""Events: the bus for whoever cannot read it. `EventService.Subscribe` streams a tenant's events as they happen.

Owns: nothing, no schema. Emits: nothing. Consumes: every topic of events, as a reader outside any group.

One thread (`tail`) reads the bus for all subscriptions of the process; the `hub` hands what it finds to those who want
it. Who begins earlier than the tail, at a cursor or at the oldest event, is first brought up to it by `past`, which
opens a reader for a stretch at a time. Positions are counted per partition, and a subscription joins the hub at exactly
the positions that its past ended with: no event is lost or repeated there, nor by resuming from a cursor.
"""
