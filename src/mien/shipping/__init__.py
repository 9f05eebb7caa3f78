"""What leaves the house: a run as a bundle, what that says of its origin, and its model card."""
