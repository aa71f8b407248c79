"""Named sets of pictures that a library keeps: what a query and filters find, noted so that it can be found again.

The files: `cohort` (what one is, and which pictures belong to it), `shelf` (where a library keeps them), `export`
(a folder that other programs learn from), `layouts` (how that folder looks), `deidentify` (DICOM copies that name
nobody), `burned_in` (images that may carry text in their pixels, by their header), `masking`
(where a detector finds it, and pixels without it).
"""
