"""A run folder turned into something people and programs can read.

``write(run)`` writes ``report.html``, ``report.json`` and ``statement.json`` from the
files of the run folder alone; ``read`` and ``compare`` give the numbers back.
"""

from fedpref.report.compare import Row, compare
from fedpref.report.run import Run, read
from fedpref.report.statement import statement
from fedpref.report.verdict import ADAPTER_AND_HEAD, HEAD_ONLY, THIS_RUN
from fedpref.report.write import report, write

__all__ = [
    "ADAPTER_AND_HEAD",
    "HEAD_ONLY",
    "THIS_RUN",
    "Row",
    "Run",
    "compare",
    "read",
    "report",
    "statement",
    "write",
]
