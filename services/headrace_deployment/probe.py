"""Whether an instance answers."""

import http.client

_INSTANCE = "x-headrace-instance"


def answers(address: str, instance_id: str, timeout: float = 1.0) -> bool:
    """Whether GET /ping at host:port gets 200 from this very instance, in `timeout` seconds."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("GET", "/ping")
        answer = connection.getresponse()
        answer.read()
        return answer.status == 200 and answer.getheader(_INSTANCE) == instance_id
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
