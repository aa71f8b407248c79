"""The hub of the tests of models serves those of training too."""

from tests.models.conftest import clip_folder, hub, models

__all__ = ["clip_folder", "hub", "models"]
