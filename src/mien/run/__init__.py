"""What a run is made of: its folder, the runs before it, what the audit means for it, its verdict."""
