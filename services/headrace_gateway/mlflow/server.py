"""What the server says of itself."""

from headrace_gateway.mlflow.calls import Calls
from headrace_gateway.mlflow.wire import Answer, Request


class Nothing(Request):
    """A request without fields."""


async def info(calls: Calls, request: Nothing) -> Answer:
    """3.0/server-info: what clients may use."""
    del calls, request
    return {
        "store_type": "SqlStore",
        "workspaces_enabled": True,
        "multipart_uploads_enabled": True,
        # Clients would ask for a URL before each file, however small, and read from this same server then.
        "multipart_downloads_enabled": False,
        "presigned_upload_run_id_supported": True,
        "presigned_upload_model_id_supported": True,
    }
