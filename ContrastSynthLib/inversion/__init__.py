"""Learned inverse problems (LIP-CAR): a fidelity, a regulariser, and solvers one can watch.

Nothing here knows a network by name: a forward operator is any function that torch can
differentiate, from images (n, rows, columns) to images of the same shape.
"""
