"""Mails: what they say, as bytes, and the worker that gets them out."""
