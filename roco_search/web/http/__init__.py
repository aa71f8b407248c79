"""The demo over HTTP: the gate in front of everything, our own routes, uploads and pictures."""
