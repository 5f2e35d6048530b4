"""The Model Context Protocol: the toolbox of `counsel` over standard input or HTTP."""
