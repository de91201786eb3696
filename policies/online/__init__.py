"""Guests that arrive and leave one by one: a place on a large fleet in milliseconds, without a solver."""
