"""Methods of knowledge plugins beside each other, on invented people whom no checkpoint can know."""
