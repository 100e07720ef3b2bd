"""The steps, oldest first. A step names its tables and columns itself, since `tables` describes today's schema only."""
