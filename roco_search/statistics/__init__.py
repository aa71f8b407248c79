"""Arithmetic that knows neither models nor files: bootstrap, AUC, ranks."""
