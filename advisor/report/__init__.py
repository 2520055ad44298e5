"""Recommendations and training results in words: text, Markdown, files."""
