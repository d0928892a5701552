"""What the module is made of, besides the file that Slicer loads."""
