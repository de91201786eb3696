"""The books: who was promised what, in database constraints and events."""
