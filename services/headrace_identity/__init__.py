"""Identity: tenants, their workspaces, and the tokens by which their callers are known.

Owns: schema `identity`. Emits: nothing yet. Consumes: nothing.
A token is 256 random bits; what is kept is an HMAC of it, so that a copy of the table opens nothing.
"""
