"""A DICOM file becomes frames: header, pixels, display, and the attributes that may be kept."""
