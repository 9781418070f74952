"""Rate limits: how often who may ask; a request counts when it enters, and not when we fail it.

`hooks` knows Flask, `rates` chooses the storage, `shared` counts in Redis and `counts` in memory, `clients` names who
asks.
"""
