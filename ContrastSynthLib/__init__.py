"""ContrastSynth: synthesis of contrast-enhanced MR images. Research use only."""

__version__ = "0.1.0"
