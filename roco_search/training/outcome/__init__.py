"""What a run leaves behind: the model, its card and its log."""
