"""Recommendations, training results and comparisons in words and pictures: text, Markdown, pages, files."""
