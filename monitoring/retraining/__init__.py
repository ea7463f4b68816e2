"""A verdict carried out: plan, training process, gate, promotion, probation."""
