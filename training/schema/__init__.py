"""What a model eats and answers: features, target, time; rows and predictions in columns."""
