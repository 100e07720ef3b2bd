"""The steps, oldest first. A step names tables and columns itself: `tables` is about today, a step is not."""
