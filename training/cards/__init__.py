"""What a version is, how it was made and how good it is, for people: as Markdown and as a page."""
