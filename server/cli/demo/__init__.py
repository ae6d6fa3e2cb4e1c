"""`caducee demo`: the main job, played with real client programs and checked step by step."""
