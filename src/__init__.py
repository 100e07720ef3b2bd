"""Your package. Only this folder is imported when your work is graded: use relative imports inside it."""
