"""Data sets of the Brain Imaging Data Structure (BIDS): cases from one, results into one.

BIDS: Gorgolewski et al., Sci Data 2016;3:160044.
"""
