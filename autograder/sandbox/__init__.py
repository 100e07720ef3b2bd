"""Where student code runs: the wall, the warm worker behind it, and the sessions that drive them."""
