"""What a team is to the database: its Stripe connection, its secrets, its readers, its activity."""
