"""Inverse problems with a learned forward operator (LIP-CAR): objective, regularisers, solvers.

A forward operator is any function that torch can differentiate, from images (n, rows, columns) to
images of the same shape: nothing here depends on one network.
"""
