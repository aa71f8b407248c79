"""Let threads that wait for each other sleep instead of spinning.

torch's threads meet at the end of every operation, and GNU OpenMP lets who comes first spin until the last one comes.
As soon as another program wants a processor too, the spinning takes it from the thread that is waited for: a training
step of EfficientNet-Lite0 on 32 images took 2 to 4 s on two busy cores, and 0.26 s with sleeping threads; on two idle
cores it made no difference. The setting exists as an environment variable, but a user should not have to know it.
"""

from __future__ import annotations

import os
import sys


def wait_asleep() -> bool:
    """Set it for this process; whether it will be heard. It has to be before torch is imported.

    For programs only, not for libraries: it changes the whole process. What the user has set goes before.
    """
    if "torch" in sys.modules:
        return False
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read once, when the OpenMP library is loaded
    return True
