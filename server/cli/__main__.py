"""`python -m server.cli`: the same as `caducee`, for who starts it by its interpreter."""

from server.cli.main import main

main()
