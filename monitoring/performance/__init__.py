"""How well the answers of a model are, from log and journal: by bucket for people, slot by slot for the loop."""
