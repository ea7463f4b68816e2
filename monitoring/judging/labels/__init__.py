"""What is known of labels apart from whether answers were right: what became of those that came, and why too few did."""
