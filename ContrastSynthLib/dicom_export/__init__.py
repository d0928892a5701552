"""Results as DICOM objects beside the series that they came from, marked for what they are."""
