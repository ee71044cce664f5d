"""The deployment schema in SQL, a function a statement: `reads` for requests, `work` for the worker role."""
