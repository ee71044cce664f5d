"""Makes full chunks of many small ones, behind the writer's back and without anybody noticing.

A writer that stores a small chunk notes its series now and then, in the same transaction. A merger takes notes, looks at
the chunks of their series (`groups` decides which to put together) and rewrites them in one transaction (`step`).
"""
