"""Settings, and where they come from: command line, environment, TOML file.

The table `options.OPTIONS` is what help, completion and documentation are made from. May import
`errors`, `address` and `networks`.
"""
