"""Attacks on what is released, to measure what it gives away."""
