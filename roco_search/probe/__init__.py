"""What a library's owner teaches it: few-shot classifiers, spaces and feedback, on the vectors that are stored already.

`examples` (what is said of which pictures) and `cases`; `teaching/` (how heads and spaces are fitted, where they start,
and what they may claim); `probe`, `space`, `binding` and `shelf` (what they are, and how they are kept); `applying`
(what a probe says of a library), `classifying` (of new files) and `ranking` (of a search); `feedback/` (marks).
"""
