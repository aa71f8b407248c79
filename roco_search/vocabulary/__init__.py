"""The words of radiology as data, and what reads them; ``README.md`` beside this file describes the data.

`image_classes` reads what an image can be (modality, body part, plane), `prompt_sets` how its findings are spoken of.
"""
