"""Reward models on frozen encoders, and the gradient of each unit of privacy."""
