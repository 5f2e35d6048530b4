"""The workbench: pages over counsel, drawn by the server. Parses, calls, draws; decides nothing."""
