"""Read, judge, decide, act, slot by slot, by the one monitor that leads."""
