"""A team in the database: its Stripe connection, secrets, readers and activity."""
