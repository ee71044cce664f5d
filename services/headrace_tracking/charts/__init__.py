"""Charts: what is asked for, from which bins or points of which chunks it is made, and how these are put together.

Wherever bins of a chunk are fine enough they are taken, for unpacking its points takes twenty times as long.
"""
