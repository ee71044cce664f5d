"""Registry: models, their versions and the aliases by which they are used.

Owns: schema `registry`. Emits: ModelCreated, ModelUpdated, ModelDeleted; ModelVersionCreated, ModelVersionUpdated,
ModelVersionDeleted, ModelVersionPromoted, ModelAliasDeleted. Consumes: its own, for webhooks; asks tracking for logged models.

The events of a name are in the order of its changes: whoever changes what has the name, or takes or leaves it, holds
the name's lock from the first statement of the transaction to its end. The topic of versions alone tells every alias of
every name: a rename is there as the old name's aliases deleted and the new name's promoted. A name deleted and made
again is another model, whose versions begin at 1.
"""
