"""CPU per request of whole process trees, contenders visited round-robin in one run: `make bench`."""
