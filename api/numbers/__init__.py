"""The numbers of a team's business: recurring revenue, customers and churn."""
