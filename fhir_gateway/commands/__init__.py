"""What the command line does: each function is one command, given a wired house; results on stdout, progress on stderr."""
