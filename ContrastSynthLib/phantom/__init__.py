"""Virtual patients, whose truth is known at every voxel."""
