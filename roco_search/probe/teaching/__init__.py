"""How labels become heads and spaces: `head`, `fitting` and `zero_shot`; `controls` and `teach`; and `spaces`."""
