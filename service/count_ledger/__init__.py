"""The counts of what was logged: by bucket of model time, under the measures of each model, as of any moment."""
