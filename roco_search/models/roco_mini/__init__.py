"""roco-mini, the model that the package embeds: its class, weights, tokenizer and card."""
