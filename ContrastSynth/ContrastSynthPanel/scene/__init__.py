"""Nodes of the scene, the slice views, and what the library makes of them."""
