"""Git hosts: what they send us, and what we ask them."""
