"""What the teacher knows about every training position, kept."""
