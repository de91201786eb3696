"""What rows tell: who is better than whom, by how much and how surely; as a page, as Markdown, as JSON Lines."""
