"""Running a network over a whole volume: cut it into pieces, run them in batches, reassemble."""
