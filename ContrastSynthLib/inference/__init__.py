"""A slice network over a whole volume: into slices, through the memory there is, and back."""
