"""What schemathesis cannot know by itself: texts of our format `printable`, and the years that times may lie in."""

from datetime import datetime

import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format("printable", st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1, max_size=128))

moments = st.datetimes(datetime(1900, 1, 2), datetime(2200, 12, 30)).map(lambda moment: moment.isoformat() + "Z")  # noqa: DTZ001
schemathesis.openapi.format("date-time", moments)
