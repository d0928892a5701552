"""The evaluation of methods: cases, rows (methods), measures, intervals, one cache, one table.

``training/evaluate.py`` is the command. There are two tasks: from the post- to the pre-contrast
scan (``post_to_pre.py``) and from a low to the full dose (``low_to_full.py``).
"""
