"""Consumes the frames topic and makes points visible: in PostgreSQL, each exactly once.

A poll's frames are applied in one transaction with the partition's next offset, the producers' marks and the latest
values (`applier`). Frames of a producer are applied in the order of seq without a gap; what comes early is parked
(`sequence`). What cannot be applied goes to the dead letters (`letters`).
"""
