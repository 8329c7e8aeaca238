"""Request targets to open files.

This package is the only opener of files that are served. It keeps every path
below the root, sends nothing, and knows no HTTP but the target. What a client
can cause (no such file, a directory, no permission) it returns as a value.
"""
