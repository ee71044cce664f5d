"""Removes for good what lies in the bin, on demand or when it has lain there for long enough.

First the run's own row goes, in one transaction with its event and a row in `purges` (`bin`): nobody sees the run any more,
and whatever comes late for it is known to be of no use. Then what is large is deleted in small steps (`step`). `loop` does
both for ever.
"""
