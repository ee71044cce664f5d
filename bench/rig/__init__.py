"""What every row of the bench is measured with: servers, client processes, CPU seconds, figures and their table."""
