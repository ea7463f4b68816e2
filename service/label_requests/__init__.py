"""Predictions drawn at random for somebody to label, and what each of their labels stands for."""
