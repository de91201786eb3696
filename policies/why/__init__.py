"""Why a guest has no place, or this one: causes, who holds the place, what would help, and what a place costs."""
