"""`python -m monitoring.cli`: the `evergreen` command."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        sys.path.append(sys.path.pop(0))  # the working directory: a `training.py` there is not ours, and where we are it still counts
    from monitoring.cli.main import main

    main()
