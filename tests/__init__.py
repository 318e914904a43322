"""The tests; `ndconv.testing` holds what they share with users."""
