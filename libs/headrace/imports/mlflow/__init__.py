"""Reads what MLflow recorded: from a running server, from its database, or from a folder of files; and writes it back."""
