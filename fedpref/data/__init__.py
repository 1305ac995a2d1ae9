"""Records, surveys, public texts and pinned assets; imports nothing heavy."""
