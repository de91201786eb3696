"""What should be: policies that choose a home for every guest of a fleet. Pure functions."""
