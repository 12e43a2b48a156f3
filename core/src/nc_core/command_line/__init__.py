"""What every command line of nc shares: options, tables, progress. Needs click, bars rich."""
