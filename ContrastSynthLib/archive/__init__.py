"""A DICOM archive: what it holds, studies fetched from it, results sent back."""
