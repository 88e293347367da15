"""The two halves of the example clips: a painted face and a synthesised voice."""
