"""The Flower client application: a courier."""
