"""The demo as a Space on the Hugging Face Hub: what is exported and uploaded, and what runs there."""
