"""The one door to the network: what is fetched from the Hugging Face Hub, and what is uploaded to it."""
