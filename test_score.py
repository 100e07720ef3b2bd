# Empty on purpose: when your work is graded, the hidden suite of the assignment takes the place of this file.
