"""What a team's business does, in numbers: recurring revenue, customers, churn."""
