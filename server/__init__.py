"""The Flower server application."""
