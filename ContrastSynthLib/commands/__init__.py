"""The commands of the command line: each reads its inputs, calls the library, prints the result."""
