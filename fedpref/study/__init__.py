"""How much of a person's preference a few of their own answers tell; see docs/study.md."""
