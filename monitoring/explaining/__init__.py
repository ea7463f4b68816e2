"""Why: what a version or a verdict rests on, and which trainings, weighings and gates used a prediction's row, or why none did."""
