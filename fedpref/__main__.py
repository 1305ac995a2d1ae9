"""``python -m fedpref``."""

from fedpref.cli import main

main()
