"""Widgets that the tabs are made of; they know nothing of the scene but nodes."""
