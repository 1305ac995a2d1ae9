"""Studies import their neighbours by name, as Python lets a script do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
