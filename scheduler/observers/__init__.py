"""Where the threads and pages of a guest really are."""
