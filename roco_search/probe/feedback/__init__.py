"""What a person marked yes or no: `sessions`, in which it is kept, and the `direction` that it gives a ranking."""
