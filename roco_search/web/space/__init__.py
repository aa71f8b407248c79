"""The demo as a Space: exported, pushed, and what runs there."""
