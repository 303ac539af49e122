"""The trackers that have names: a module for each service, which alone imports its package."""
