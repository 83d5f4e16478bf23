"""What is wrong with a team's mirror: found once, told once, and told again when it is over."""
