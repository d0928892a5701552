"""A network over a whole volume: into pieces, through the memory there is, and back."""
