"""How much of a preference a few own answers tell; see docs/study.md."""
