"""What the watch promises and how soon it sees, measured by feeding the product's own detector as a slot does."""
