"""What was recorded or written, as something to look at: Rerun, and one page of HTML."""
