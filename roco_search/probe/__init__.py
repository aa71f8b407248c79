"""What a library's owner teaches it: few-shot classifiers and feedback, on the vectors that are stored already.

The rooms inside: `examples` (what is said of which pictures) and `cases`; `head` and `fitting` (the arithmetic);
`zero_shot` (where a head starts), `controls` and `teaching` (what it may claim); `probe` and `shelf` (how it is kept);
`applying` (what it says of a library, or of new files in `classifying`).
"""
