"""Reusable code of the CRNN music tagging notebooks: one module per topic.

Importing the package, or any module but `models` and `training`, does not load Keras.
"""
