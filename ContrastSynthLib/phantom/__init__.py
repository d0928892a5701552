"""Virtual patients: simulated scans with the true tissue and uptake of every voxel."""
