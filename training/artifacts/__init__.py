"""One immutable version on disk: written whole, signed, verified before anything is unpickled."""
