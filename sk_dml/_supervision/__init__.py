"""Kinds of y."""
