"""Who speaks: accounts, passwords made for software, throttle."""
