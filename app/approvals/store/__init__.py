"""Stores of approvals: `interface.py` says what each of them does.

The interface is a module of its own, because a function that shows a page reads from one store and
needs none of the values that are written.
"""
