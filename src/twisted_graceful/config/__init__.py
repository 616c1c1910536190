"""Settings and options, and where their values come from.

A setting is a field of `server_settings` or `process_settings`; `settings` has both. Every setting
is also a row of `options.OPTIONS`, from which the command line, the environment variables, the keys
of the TOML file, the help and the documentation are made. Other packages use `Settings` and its two
halves; only `cli` uses `options`. May import `errors`, `address` and `networks`.
"""
