"""How the cost of a prediction grows with rows, features, trees and models."""
