"""Scripts of the job state in Redis: each is one atomic change.

Names of keys are built in the scripts, so this is for one Redis and not for a cluster, like Celery's transport.
Fields of the hash of items, for item N: `N` is what does not change, `N:state` its state unless it is queued, `N:error`
and `N:outputs` its outcome, `N:attempts` how often it was taken. Members of the set of running items are `JOB:N`.
"""

from __future__ import annotations

__all__ = ["ADD", "CLAIM", "DELETE", "END_DELIVERY", "FINISH", "PREFIX", "QUEUE_STATE", "RELEASE", "TAKE_DELIVERY"]

# The number is the version of the encoding.
PREFIX = "background-remover:jobs:1:"

# Functions of the changes. `live` is the time to live of keys in milliseconds, longer than the life of any job.
_COMMON = f"""
local function key(name, of) return '{PREFIX}' .. name .. (of or '') end
local function keep(live, ...)
    for _, name in ipairs({{...}}) do redis.call('PEXPIRE', name, live) end
end
local function state_of(id, number)
    local items = key('items:', id)
    if redis.call('EXISTS', key('job:', id)) == 0 or redis.call('HEXISTS', items, number) == 0 then return 'gone' end
    return redis.call('HGET', items, number .. ':state') or 'queued'
end
local function change(id, number, before, after, live)
    local job, items, versions = key('job:', id), key('items:', id), key('versions:', id)
    redis.call('HINCRBY', job, before, -1)
    redis.call('HINCRBY', job, after, 1)
    redis.call('HSET', items, number .. ':state', after)
    redis.call('ZADD', versions, redis.call('HINCRBY', job, 'version', 1), number)
    keep(live, versions)
end
local function join_turns(id, live)
    local owner = redis.call('HGET', key('job:', id), 'owner')
    local turn = (redis.call('GET', key('turn')) or 0) - 0.5  -- before the one that had the last turn
    redis.call('ZADD', key('turns:', owner), 'NX', turn, id)
    redis.call('ZADD', key('owners'), 'NX', turn, owner)
    keep(live, key('turns:', owner), key('owners'))
end
local function leave_turns(id, owner)
    redis.call('ZREM', key('turns:', owner), id)
    if redis.call('EXISTS', key('turns:', owner)) == 0 then redis.call('ZREM', key('owners'), owner) end
end
local function end_if_finished(id, now, expires, live)
    local job = key('job:', id)
    local left = redis.call('HMGET', job, 'queued', 'running', 'webhook_url')
    if left[1] ~= '0' or left[2] ~= '0' then return end
    redis.call('HSET', job, 'ended', now, 'expires', expires)
    redis.call('ZADD', key('expiry'), expires, id)
    redis.call('ZREM', key('open'), id)
    if left[3] ~= '' then
        redis.call('ZADD', key('webhooks'), now, id)
        keep(live, key('webhooks'))
    end
end
"""

# ARGV: id, hash of the idempotency key or an empty text, now, milliseconds to live, expiry of an unfinished job, expiry
# of a finished one, number of texts of the job's fields, these, then name, text and error of each item.
# Returns the id of the job, or of the earlier one.
ADD = f"""{_COMMON}
local id, repeated, now, live, unfinished, finished = unpack(ARGV, 1, 6)
local earlier = repeated ~= '' and redis.call('GET', key('idempotency:', repeated))
if earlier then return earlier end
if redis.call('EXISTS', key('job:', id)) == 1 then return id end
local first = 8 + tonumber(ARGV[7])
local job, items, waiting = key('job:', id), key('items:', id), key('waiting:', id)
redis.call('HSET', job, 'created', now, 'expires', unfinished, unpack(ARGV, 8, first - 1))
local number, failed = 0, 0
for place = first, #ARGV, 2 do
    number = number + 1
    redis.call('HSET', items, number, ARGV[place])
    if ARGV[place + 1] == '' then
        redis.call('ZADD', waiting, number, number)
    else
        failed = failed + 1
        redis.call('HSET', items, number .. ':state', 'failed', number .. ':error', ARGV[place + 1])
    end
end
redis.call('HSET', job, 'queued', number - failed, 'running', 0, 'done', 0, 'failed', failed, 'version', 0)
local owner = key('owner:', redis.call('HGET', job, 'owner'))
redis.call('ZADD', owner, now, id)
redis.call('ZADD', key('open'), now, id)
redis.call('ZADD', key('expiry'), unfinished, id)
if repeated ~= '' then redis.call('SET', key('idempotency:', repeated), id, 'PX', live) end
if failed < number then join_turns(id, live) end
end_if_finished(id, now, finished, live)
keep(live, job, items, waiting, owner, key('open'), key('expiry'))
return id
"""

# ARGV: now, end of the last report of a lost worker, milliseconds to live.
# Returns id and number of an item that is running from now on, and how often it was taken before; or nil.
# Items of lost workers are first. Owners take turns, and so do the jobs of an owner.
CLAIM = f"""{_COMMON}
local now, lost, live = unpack(ARGV)
local function take(id, number)
    redis.call('ZADD', key('running'), now, id .. ':' .. number)
    keep(live, key('running'))
    return {{id, number, redis.call('HINCRBY', key('items:', id), number .. ':attempts', 1) - 1}}
end
while true do
    local member = redis.call('ZRANGEBYSCORE', key('running'), '-inf', lost, 'LIMIT', 0, 1)[1]
    if not member then break end
    local id, number = string.match(member, '^(.*):(%d+)$')
    if state_of(id, number) == 'running' then return take(id, number) end
    redis.call('ZREM', key('running'), member)
end
while true do
    local owner = redis.call('ZRANGE', key('owners'), 0, 0)[1]
    if not owner then return nil end
    local id = redis.call('ZRANGE', key('turns:', owner), 0, 0)[1]
    local number = id and redis.call('ZPOPMIN', key('waiting:', id))[1]
    if number then
        local turn = redis.call('INCR', key('turn'))
        redis.call('ZADD', key('owners'), turn, owner)
        redis.call('ZADD', key('turns:', owner), turn, id)
        keep(live, key('turn'))
    end
    if not number or redis.call('EXISTS', key('waiting:', id)) == 0 then leave_turns(id or '', owner) end
    if number and state_of(id, number) == 'queued' then
        change(id, number, 'queued', 'running', live)
        redis.call('HSETNX', key('job:', id), 'started', now)
        return take(id, number)
    end
end
"""

# ARGV: id, number, milliseconds to live. Returns 1 if the item was running.
RELEASE = f"""{_COMMON}
local id, number, live = unpack(ARGV)
if state_of(id, number) ~= 'running' then return 0 end
redis.call('ZREM', key('running'), id .. ':' .. number)
redis.call('ZADD', key('waiting:', id), number, number)
redis.call('HINCRBY', key('items:', id), number .. ':attempts', -1)
change(id, number, 'running', 'queued', live)
join_turns(id, live)
keep(live, key('waiting:', id))
return 1
"""

# ARGV: id, number, now, milliseconds to live, state, error, outputs, expiry of a finished job.
# Returns 1 if the outcome is stored.
FINISH = f"""{_COMMON}
local id, number, now, live, after, problem, outputs, expires = unpack(ARGV)
local before = state_of(id, number)
if before ~= 'queued' and before ~= 'running' then return 0 end
redis.call('ZREM', key('running'), id .. ':' .. number)
redis.call('ZREM', key('waiting:', id), number)
if redis.call('EXISTS', key('waiting:', id)) == 0 then
    leave_turns(id, redis.call('HGET', key('job:', id), 'owner'))
end
redis.call('HSET', key('items:', id), number .. ':error', problem, number .. ':outputs', outputs)
change(id, number, before, after, live)
end_if_finished(id, now, expires, live)
redis.call('HINCRBY', key('finished'), after, 1)
keep(live, key('finished'))
return 1
"""

# ARGV: id. Returns 1 if the job existed.
DELETE = f"""{_COMMON}
local id = ARGV[1]
local job = key('job:', id)
local fields = redis.call('HMGET', job, 'owner', 'repeated')
local repeated = fields[2] and key('idempotency:', fields[2])
if repeated and redis.call('GET', repeated) == id then redis.call('DEL', repeated) end
if fields[1] then
    redis.call('ZREM', key('owner:', fields[1]), id)
    leave_turns(id, fields[1])
end
for _, member in ipairs(redis.call('ZRANGE', key('running'), 0, -1)) do
    if string.sub(member, 1, #id + 1) == id .. ':' then redis.call('ZREM', key('running'), member) end
end
for _, name in ipairs({{'open', 'expiry', 'webhooks'}}) do redis.call('ZREM', key(name), id) end
redis.call('DEL', key('items:', id), key('waiting:', id), key('versions:', id))
return redis.call('DEL', job)
"""

# ARGV: end of the last report of a lost worker. Returns the numbers of queued and of running items, how many of the
# latter belong to lost workers, when the oldest job with queued items was made, or an empty text, and the number of
# living workers.
QUEUE_STATE = f"""{_COMMON}
local queued, running, oldest = 0, 0, nil
for _, id in ipairs(redis.call('ZRANGE', key('open'), 0, -1)) do
    local job = redis.call('HMGET', key('job:', id), 'queued', 'running', 'created')
    if job[1] then
        queued, running = queued + job[1], running + job[2]
        if job[1] ~= '0' then oldest = oldest or job[3] end
    else
        redis.call('ZREM', key('open'), id)
    end
end
local lost = redis.call('ZCOUNT', key('running'), '-inf', ARGV[1])
return {{queued, running, lost, oldest or '', redis.call('ZCOUNT', key('workers'), '(' .. ARGV[1], '+inf')}}
"""

# ARGV: now, end of the reservation. Returns id, URL and attempts, or nil; fewer attempts are first.
TAKE_DELIVERY = f"""{_COMMON}
local chosen, fewest
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('webhooks'), '-inf', ARGV[1])) do
    local attempts = tonumber(redis.call('HGET', key('job:', id), 'attempts'))
    if not attempts then
        redis.call('ZREM', key('webhooks'), id)
    elseif not chosen or attempts < fewest then
        chosen, fewest = id, attempts
    end
end
if not chosen then return nil end
redis.call('ZADD', key('webhooks'), ARGV[2], chosen)
return {{chosen, redis.call('HGET', key('job:', chosen), 'webhook_url'), fewest}}
"""

# ARGV: id, time of the next attempt or an empty text.
END_DELIVERY = f"""{_COMMON}
local id, next_at = unpack(ARGV)
if redis.call('EXISTS', key('job:', id)) == 1 then redis.call('HINCRBY', key('job:', id), 'attempts', 1) end
if next_at == '' or redis.call('ZSCORE', key('webhooks'), id) == false then
    return redis.call('ZREM', key('webhooks'), id)
end
return redis.call('ZADD', key('webhooks'), next_at, id)
"""
