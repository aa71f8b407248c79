"""Contrastive training of a dual encoder on pairs of images and captions."""
