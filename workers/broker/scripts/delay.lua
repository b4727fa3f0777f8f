-- Keeps a message until it is due. KEYS: delayed. ARGV: delay in ms, 16-byte nonce followed by the message.
-- The nonce belongs to the attempt, so a repeated flush stores the copy once.
local time = redis.call('TIME')
local due = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
return redis.call('ZADD', KEYS[1], 'NX', due, ARGV[2])
