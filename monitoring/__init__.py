"""The watching process: judges what was served, retrains, gates, promotes, takes back; and the command line over all."""
