"""A node that receives studies, runs what a rule file names on them, and sends the results back."""
