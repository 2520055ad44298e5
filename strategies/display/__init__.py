"""What results are shown with: HTML, charts, progress."""
