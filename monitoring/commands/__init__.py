"""The verbs of the `evergreen` command, by what they are about; `monitoring.cli` finds them."""
