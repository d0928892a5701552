"""Analysis of scans: uptake, lesions, line profiles, kinetics, evaluation of synthetic scans."""
