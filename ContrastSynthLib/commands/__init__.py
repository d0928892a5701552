"""What the commands do: read, call the library, print. No logic of their own."""
