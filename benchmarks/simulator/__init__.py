"""Arrivals, departures and batches replayed against a policy, event by event: one row of figures."""
