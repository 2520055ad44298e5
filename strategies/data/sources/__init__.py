"""The forms that a dataset may have: a table of them in `forms.py`, and a module for each kind of reader."""
