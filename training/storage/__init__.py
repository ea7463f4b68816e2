"""One database, SQLite or PostgreSQL: engines, transactions, migrations, the write lock."""
