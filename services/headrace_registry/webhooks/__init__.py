"""Webhooks: who is told over HTTP what happens to models, and how it gets there.

The recorder hears the registry's events and writes a delivery for each webhook that wants one, in the transaction in which the
event counts as handled. The sender posts what is due, with the same id until it is delivered or given up.
"""
