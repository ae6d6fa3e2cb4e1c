"""The development provider of identity: an OpenID provider shaped like Pro Santé Connect, which proves nothing."""
