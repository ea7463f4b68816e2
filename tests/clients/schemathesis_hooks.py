"""What schemathesis cannot know by itself: texts of our format `printable`."""

import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format("printable", st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1, max_size=128))
