"""What can be wrong with a model or with its input.

ModelError
 +-- ModelFormatError   the folder is no model, or none that this version can read
 +-- ModelNotAllowed    loading it would run code, or build types, that nobody allowed
 +-- SchemaError        data does not fit the signature
"""


class ModelError(Exception):
    """Base of the errors of models."""


class ModelFormatError(ModelError):
    """The folder is no model, or none that this version can read; the message names the file and the field."""


class ModelNotAllowed(ModelError):  # noqa: N818 - says what it is
    """Loading the model needs a permission; the message names the setting that gives it."""


class SchemaError(ModelError):
    """Data does not fit the signature. `column` is the name or the position of the first that does not."""

    def __init__(self, column: str | int, problem: str) -> None:
        super().__init__(f"column {column!r}: {problem}")
        self.column = column
        self.problem = problem
