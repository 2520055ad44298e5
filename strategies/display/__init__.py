"""Shows results: HTML, charts and progress."""
