"""What the demo answers over HTTP: the gate, its routes, uploads and pictures."""
