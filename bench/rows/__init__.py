"""The rows of the bench, a module a group of rows that are measured together."""
