"""The MCP server, asked by clients of other makers: over standard input and output, and over HTTP with the token."""
