"""Tables of patients, run without a window: a scene for each, to look at afterwards."""
