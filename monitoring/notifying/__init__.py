"""What happened, for people: messages about models, sent by webhook and mail, at least once, seldom, and off the loop."""
