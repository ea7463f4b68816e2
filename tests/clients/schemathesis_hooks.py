"""What schemathesis cannot know by itself: texts of our format `printable`, the years that times may lie in, and when to come again."""

import time
from datetime import datetime
from typing import Any

import requests
import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format("printable", st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1, max_size=128))

moments = st.datetimes(datetime(1900, 1, 2), datetime(2200, 12, 30)).map(lambda moment: moment.isoformat() + "Z")  # noqa: DTZ001
schemathesis.openapi.format("date-time", moments)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Send again, when its Retry-After says, what found the database locked for a second: on a busy machine it may be."""
    while response.status_code == 503 and b'"log_unavailable"' in response.content:
        time.sleep(float(response.headers["retry-after"][0]))
        with requests.Session() as session:
            again = session.send(response.request, timeout=60)
        response.status_code, response.message, response.content = again.status_code, again.reason, again.content
        response.headers = {name.lower(): [value] for name, value in again.headers.items()}
