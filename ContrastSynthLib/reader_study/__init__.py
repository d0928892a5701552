"""Reader studies: blinded scores of synthetic and standard-of-care images, and their analysis."""
