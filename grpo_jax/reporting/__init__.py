"""Reporting: output for people, in the terminal and as pages.

Nothing is imported here: drawing and statistics take seconds to load, and a command loads only what it shows.
"""
