"""Ways in: brings what other trackers recorded into a Headrace, each thing once, however often it is repeated.

A source reads what another tracker left (`source.SourceRun`), the target writes it, and a report compares both sides.
"""
