"""emjax: segmentation of electron-microscopy volumes in JAX.

Importing the package imports none of its parts, so that the command line can set up JAX first.
"""

__version__ = "0.1.0"
