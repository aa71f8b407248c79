"""The hub of the tests of models serves those of training too; torch computes on one thread.

Small models gain nothing from a second one, and while the other tests keep the cores busy, torch's threads spin: nine
tenths of the processor time of `test_step` were that.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.models.conftest import clip_folder, hub, models

__all__ = ["clip_folder", "hub", "models"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
