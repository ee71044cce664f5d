"""Artifacts: the files of runs and models, streamed in parts, kept whole or not at all.

Owns: schema `artifacts`, and the blobs below the keys it makes. Emits: ArtifactStored, ArtifactDeleted.
Consumes: RunPurged and LoggedModelPurged. Asks tracking whether a run or model exists, and the registry whether a version
is made of a purged model.
A blob is written down in `loose_blobs` before its first byte is stored, and stays there until an artifact has it:
whatever crashes when, the sweeper finds what nobody owns.
"""
