"""The tabs of the demo."""
