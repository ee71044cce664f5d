"""Moves the points of finished runs into Parquet files in the object store.

The archiver takes a run that ended a while ago (`step`), reads its series in order (`content`), writes one file, and then,
in one transaction, puts chunk rows that name places of the file where those with bytes were. `loop` does so for ever.
"""
