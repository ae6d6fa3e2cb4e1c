"""Sessions of people in a browser: opened by a sign-in, found by a cookie's token, ended by the person or by time."""
