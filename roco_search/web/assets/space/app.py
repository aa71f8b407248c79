"""roco's demo. The wheel beside this file is roco itself, and requirements.txt is what it needs.

pip install -r requirements.txt
python app.py
"""

import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

if __name__ == "__main__":
    (wheel,) = HERE.glob("roco_search-*.whl")
    with tempfile.TemporaryDirectory(prefix="roco-") as unpacked:
        zipfile.ZipFile(wheel).extractall(unpacked)
        sys.path.insert(0, unpacked)
        from roco_search.web.space.app import run_space

        run_space(HERE)
