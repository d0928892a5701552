"""What a pair of scans shows: uptake, line profiles, and how good a synthetic one is."""
