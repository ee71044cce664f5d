"""Searching for runs, experiments and logged models: what their fields are, and the ways to read an experiment's runs.

The grammar, and how a filter becomes SQL, is `headrace_kit.search`.
"""
