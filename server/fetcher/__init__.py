"""The role `fetcher`: keeps white list, revocation lists and answers fresh. It holds no key."""
