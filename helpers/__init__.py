"""Reusable code of the CRNN music tagging notebooks: one module per topic.

Only the modules that build or train networks load Keras, when they are imported.
"""
